"""The trial_log of trials counts every set that was ever tried, once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from backtest.sweep.results.trials import Trial, TrialLog
from core.errors import ConfigError
from tests.backtest.sweep.test_param_sweep import sweep_of


def trial(sharpe: float = 0.1, **params: object) -> Trial:
    return Trial(
        params=params, sharpe=sharpe, count=30, mean=0.001, variance=1e-4, skew=0.0, kurtosis=0.0, ts_ns=1,
        fingerprint="f",
    )  # fmt: skip


def test_a_set_counts_once_however_it_is_written_and_however_often_it_runs(tmp_path: Path) -> None:
    trial_log = TrialLog(tmp_path, "cross", "c" * 64)
    trial_log.add([trial(fast=1, slow=2), trial(slow=2, fast=1), trial(fast=1, slow=3)])
    trial_log.add([trial(fast=1, slow=2)])

    assert len(trial_log) == len(TrialLog(tmp_path, "cross", "c" * 64)) == 2
    assert len(trial_log.path.read_bytes().splitlines()) == 2


def test_a_set_that_comes_out_otherwise_replaces_what_was_known(tmp_path: Path) -> None:
    trial_log = TrialLog(tmp_path, "cross", "c" * 64)
    trial_log.add([trial(0.1, fast=1)])
    trial_log.add([trial(0.2, fast=1)])

    assert TrialLog(tmp_path, "cross", "c" * 64).sharpes() == [0.2]


def test_other_data_is_another_ledger(tmp_path: Path) -> None:
    TrialLog(tmp_path, "cross", "a" * 64).add([trial(fast=1)])
    assert len(TrialLog(tmp_path, "cross", "b" * 64)) == 0


def test_a_torn_line_is_passed_over_and_spoils_no_other(tmp_path: Path) -> None:
    trial_log = TrialLog(tmp_path, "cross", "c" * 64)
    trial_log.add([trial(fast=1), trial(fast=2)])
    trial_log.path.write_bytes(trial_log.path.read_bytes()[:-20])

    after = TrialLog(tmp_path, "cross", "c" * 64)
    assert len(after) == 1
    after.add([trial(fast=3)])
    assert [t.params for t in TrialLog(tmp_path, "cross", "c" * 64).trials] == [{"fast": 1}, {"fast": 3}]


def test_a_strategy_id_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    assert TrialLog(tmp_path, "../../evil", "c" * 64).path.parent == tmp_path


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="expected a place to keep trials in"):
        TrialLog(tmp_path / "file", "cross", "c" * 64).add([trial(fast=1)])


def test_every_sweep_on_the_same_data_deflates_the_next(tmp_path: Path) -> None:
    first = sweep_of(tmp_path)
    table = asyncio.run(first.run())
    more = sweep_of(tmp_path)
    more.add_param_range("qty", [1.0, 2.0])
    asyncio.run(more.run())

    again = sweep_of(tmp_path, settings={"fresh": True})
    later = asyncio.run(again.run())

    assert first.outcome is not None
    assert again.outcome is not None
    assert (first.outcome.trials, again.outcome.trials) == (7, 7 + 14)
    row, after = table.iloc[0], later.iloc[0]
    assert row.sharpe_ratio == after.sharpe_ratio
    assert after.deflated_sharpe < row.deflated_sharpe


def test_a_trial_holds_the_moments_of_its_returns(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    table = asyncio.run(sweep.run())

    assert sweep.outcome is not None
    lines = sweep.outcome.files["trials"].read_bytes().splitlines()
    t = msgspec.json.decode(lines[0], type=Trial)
    row = table[(table.fast == t.params["fast"]) & (table.slow == t.params["slow"])].iloc[0]
    assert t.figures == (
        row.sharpe_per_period, row.returns_count, row.returns_mean, row.returns_variance, row.returns_skew,
        row.returns_kurtosis,
    )  # fmt: skip
    assert t.sharpe == pytest.approx(t.mean / t.variance**0.5)
