"""The bars of an earlier run: found by its checksum, whichever end the times in a file mean; others are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backtest import runner
from backtest.data.run_bars import RecordedData
from backtest.lint import command as lint_command
from backtest.result_file import read_result
from backtest.sweep import command as sweep_command
from core.errors import ConfigError
from tests.support.backtests.runs import csv_of

SMA = ["--strategy", "sma_cross_v1", "--symbol", "X/USDT", "--param", "fast=3", "--no-risk"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """400 minutes under ``timestamp``, which custom takes for their ends."""
    return csv_of(tmp_path)


def result_of(file: Path, *more: str) -> Path:
    assert runner.main([*SMA, "--param", "slow=9", "--data", str(file), "--out", str(file.parent / "out"), *more]) == 0
    return file.parent / "out" / "result_sma_cross_v1_XUSDT.json"


@pytest.mark.parametrize("stamp", ["auto", "open", "close"])
def test_the_reading_of_the_run_is_found_by_its_checksum(file: Path, stamp: str) -> None:
    recorded = RecordedData.of(read_result(result_of(file, "--stamp", stamp)))

    (bars,) = recorded.read_files([file])

    assert int(bars.ts_open[0]) == recorded.start_ts
    assert recorded.read_files([file], [stamp])[0].checksum == bars.checksum


def test_a_part_of_the_time_is_found_in_the_whole_file(file: Path) -> None:
    both = ["--timeframe", "1m,5m", "--events", "md.ohlcv.1m.*"]

    recorded = RecordedData.of(read_result(result_of(file, "--start", "2024-01-01", *both)))

    assert len(recorded.read_files([file])[0]) == 370


def test_other_bars_and_the_other_end_are_refused_with_what_to_do(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = str(result_of(file, "--stamp", "open"))

    assert lint_command.main([result, "--bars", str(file), "--stamp", "close"]) == 1
    assert "--bars: expected the bars that the result rests on (data " in capsys.readouterr().err

    rows = file.read_text().splitlines()
    file.write_text("\n".join([*rows[:-1], rows[-1].rsplit(",", 1)[0] + ",7.125"]) + "\n")
    assert lint_command.main([result, "--bars", str(file)]) == 1
    assert "name the run's own files in the order of its symbols, with its --stamp" in capsys.readouterr().err


def test_a_result_without_a_checksum_is_read_by_custom(file: Path) -> None:
    path = result_of(file)
    plain = json.loads(path.read_text())
    path.write_text(json.dumps({**plain, "fingerprints": {}, "start_ts": 0, "end_ts": 0}))

    (bars,) = RecordedData.of(read_result(path)).read_files([file])

    assert (bars.stamp_guess, len(bars)) == (("timestamp", "close"), 400)


def test_too_many_files_are_refused(file: Path) -> None:
    with pytest.raises(ConfigError, match="at most one file for each of X/USDT, got 2"):
        RecordedData.of(read_result(result_of(file))).read_files([file, file])


def test_a_sweep_records_its_data_for_the_lint(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = file.parent / "out"
    options: list[Any] = ["--param", "slow=9,12", "--data", str(file), "--out", str(out), "--workers", "0", "--quiet"]
    assert sweep_command.main([*SMA, *options, "--stamp", "open"]) == 0
    results = str(out / "sweep_results.json")

    assert lint_command.main([results, "--bars", str(file)]) == 0
    assert lint_command.main([results, "--bars", str(file), "--stamp", "close"]) == 1
    assert "expected the bars that the result rests on" in capsys.readouterr().err
