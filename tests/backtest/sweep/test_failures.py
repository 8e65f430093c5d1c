"""A set that fails is a row that says why; a strategy that always fails is an error."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from backtest.param_sweep import ParameterSweep
from backtest.sweep.running.run import Progress, SweepInterruptedError
from backtest.sweep.settings import SweepSettings
from core.errors import ConfigError
from tests.backtest.sweep.test_param_sweep import BARS, sweep_of
from tests.support.backtests.sweep_strategies import AlwaysFails, FailsOnFive


def test_a_strategy_that_raises_on_some_sets_is_told_in_their_rows(tmp_path: Path) -> None:
    table = asyncio.run(sweep_of(tmp_path, "fails_on_five", strategy=FailsOnFive).run())

    failed = table[table.error != ""]
    assert set(failed.fast) == {5}
    assert failed.error.str.contains("ZeroDivisionError: nothing to divide by").all()
    assert failed.sharpe_ratio.isna().all()
    assert failed.index.tolist() == [5, 6]  # last, whatever the others came to


def test_sets_that_failed_are_no_trials(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "fails_on_five", strategy=FailsOnFive)
    asyncio.run(sweep.run())

    assert sweep.outcome is not None
    assert sweep.outcome.trials == 5


def test_a_strategy_that_fails_on_every_set_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"all 7 sets failed, the first one with .*RuntimeError: no licence"):
        asyncio.run(sweep_of(tmp_path, "always_fails", strategy=AlwaysFails).run())
    assert not (tmp_path / "sweep_results.csv").exists()


def test_a_strategy_that_other_processes_cannot_import_is_refused(tmp_path: Path) -> None:
    class Local(FailsOnFive):
        """Not to be found from outside."""

    with pytest.raises(ConfigError, match="expected a class at the top of a module"):
        asyncio.run(sweep_of(tmp_path, strategy=Local, settings={"workers": 1}).run())


def test_parameters_that_nobody_varies_are_refused(tmp_path: Path) -> None:
    sweep = ParameterSweep("sma_cross_v1", "ATOM/USDT", data=BARS, settings=SweepSettings(folder=tmp_path))
    with pytest.raises(ConfigError, match="parameters: expected one or more"):
        asyncio.run(sweep.run())


def test_a_parameter_is_added_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="parameter fast: expected to be added once"):
        sweep_of(tmp_path).add_param_range("fast", [1])


def test_stopping_from_another_thread_keeps_what_is_done(tmp_path: Path) -> None:
    stop = threading.Event()

    def watch(progress: Progress) -> None:
        if progress.done:
            stop.set()

    with pytest.raises(SweepInterruptedError, match="the same command goes on from there") as stopped:
        sweep_of(tmp_path, watch=watch).run_here(stop)
    assert 0 < stopped.value.done < 7

    went_on = sweep_of(tmp_path).run_here()
    assert any("sets are known from" in note for note in went_on.notes)
    sweep_of(tmp_path / "whole").run_here()
    assert (tmp_path / "sweep_results.csv").read_bytes() == (tmp_path / "whole" / "sweep_results.csv").read_bytes()


def test_a_cancelled_run_ends_with_its_checkpoint_intact(tmp_path: Path) -> None:
    async def cancelled() -> None:
        begun = threading.Event()
        sweep = sweep_of(tmp_path, watch=lambda progress: begun.set() if progress.done else None)
        task = asyncio.create_task(sweep.run())
        await asyncio.to_thread(begun.wait)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert len(asyncio.run(sweep_of(tmp_path).run())) == 7


def test_only_one_sweep_works_on_a_checkpoint(tmp_path: Path) -> None:
    refused: list[str] = []

    def watch(progress: Progress) -> None:
        if not refused:
            with pytest.raises(ConfigError) as error:
                sweep_of(tmp_path).run_here()
            refused.append(str(error.value))

    sweep_of(tmp_path, watch=watch).run_here()
    assert "expected no other sweep at work on it" in refused[0]
