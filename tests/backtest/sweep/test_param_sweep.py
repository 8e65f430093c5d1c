"""Parameter sweeps: every allowed set runs once, whatever runs it; the table is sorted and saved."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from backtest.contracts import BacktestConfig
from backtest.engine import run_backtest
from backtest.param_sweep import ParameterSweep
from backtest.sweep.running.workers import Here, processes
from backtest.sweep.settings import SweepSettings
from core.errors import ConfigError
from tests.support.backtests.runs import ATOM, INSTRUMENTS, WIDE, walk

FAST, SLOW = [3, 5, 8], [5, 10, 20]
BARS = walk(8, 600, gap=0.0)


def sweep_of(folder: Path, strategy_id: str = "sma_cross_v1", **options: Any) -> ParameterSweep:
    """Nine combinations, seven of which have ``fast < slow``."""
    settings = SweepSettings(folder=folder, **{"workers": 0, **options.pop("settings", {})})
    sweep = ParameterSweep(
        strategy_id, ATOM, data=BARS, instruments=INSTRUMENTS, limits=WIDE, settings=settings, **options
    )
    sweep.add_param_range("fast", FAST)
    sweep.add_param_range("slow", SLOW)
    sweep.add_constraint("fast < slow")
    return sweep


def test_every_allowed_combination_runs_once_and_the_best_sharpe_is_first(tmp_path: Path) -> None:
    table = asyncio.run(sweep_of(tmp_path).run())

    assert sorted(zip(table.fast, table.slow, strict=True)) == [(f, s) for f in FAST for s in SLOW if f < s]
    assert table.sharpe_ratio.is_monotonic_decreasing
    assert (table.error == "").all()


def test_a_row_is_the_backtest_of_its_set(tmp_path: Path) -> None:
    row = asyncio.run(sweep_of(tmp_path).run()).iloc[0]

    config = BacktestConfig(
        ATOM, "sma_cross_v1", 0, 0, 10_000.0, 0.001, 0.0, params={"fast": int(row.fast), "slow": int(row.slow)}
    )
    result = run_backtest(config, BARS, instruments=INSTRUMENTS, limits=WIDE)
    for name, value in result.metrics.items():
        assert row[name] == value, name
    assert row.final_equity == result.final_capital


def test_the_results_are_saved_as_csv_that_pandas_reads_back(tmp_path: Path) -> None:
    table = asyncio.run(sweep_of(tmp_path).run())

    read = pd.read_csv(tmp_path / "sweep_results.csv", keep_default_na=False)
    pd.testing.assert_frame_equal(read, table, check_dtype=False)


def test_any_metric_sorts_the_table_in_the_direction_that_is_better(tmp_path: Path) -> None:
    most = asyncio.run(sweep_of(tmp_path / "a", settings={"objective": "net_profit"}).run())
    least = asyncio.run(sweep_of(tmp_path / "b", settings={"objective": "max_drawdown_pct"}).run())

    assert most.net_profit.is_monotonic_decreasing
    assert least.max_drawdown_pct.is_monotonic_increasing


def test_an_unknown_metric_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"metric: expected one of .*sharpe_ratio.*, got 'sharp'"):
        asyncio.run(sweep_of(tmp_path, settings={"objective": "sharp"}).run())


@pytest.mark.parametrize("workers", [lambda: processes(2), lambda: ThreadPoolExecutor(3), Here])
def test_the_table_is_the_same_whatever_executor_runs_the_sets(tmp_path: Path, workers: Callable[[], Any]) -> None:
    asyncio.run(sweep_of(tmp_path / "plain").run())
    with workers() as executor:
        assert isinstance(executor, Executor)
        asyncio.run(sweep_of(tmp_path / "other", executor=executor).run())

    first, second = ((tmp_path / name / "sweep_results.csv").read_bytes() for name in ("plain", "other"))
    assert first == second
