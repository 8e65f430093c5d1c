"""Many sets in one compiled call: each comes out as it does alone, one that fails fails alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backtest.compiled.engine import KernelRuns, run_kernel, run_kernels
from backtest.compiled.market import KernelMarket
from backtest.contracts import FillTiming
from core.errors import ConfigError, ContractError
from strategies.kernels.sma_cross import SmaCross
from strategies.kernels.trendline_break import TrendlineBreakKernel
from tests.support.backtests.kernel_cases import SMALL, AsTold, bars_of, config_of

WALK = 100.0 + np.cumsum(np.random.default_rng(3).normal(0, 0.3, 3_000))
MIXED: list[dict[str, Any]] = [
    {"fast": fast, "slow": slow, "qty": qty, "allow_short": short}
    for fast, slow, qty, short in ((2, 9, 1.0, True), (3, 40, 1.0, False), (5, 9, 2.5, True), (9, 80, 1.0, True))
]


@pytest.mark.parametrize("minutes", [1, 30], ids=["every bar is a mark", "days are marks"])
@pytest.mark.parametrize("timing", [FillTiming.BAR_CLOSE, FillTiming.NEXT_OPEN])
def test_each_of_many_sets_comes_out_as_it_does_alone(minutes: int, timing: FillTiming) -> None:
    market = KernelMarket.of(bars_of(WALK[: 3_000 if minutes > 1 else 400], minutes=minutes), SMALL)
    config = config_of({}, slippage_bps=2.0, fill_timing=timing)

    runs = run_kernels(SmaCross, MIXED, market, config, SMALL, samples=True)

    assert not runs.errors
    for at, params in enumerate(MIXED):
        single = run_kernel(SmaCross, params, market, config, SMALL)
        assert {name: column[at] for name, column in runs.columns.items()} == single.metrics
        assert runs.samples[at].tolist() == [10_000.0, *single.equity[market.marks].tolist()]


def test_a_kernel_gets_the_state_it_asked_for_whoever_runs_beside_it() -> None:
    series = bars_of(WALK, minutes=30)
    sets: list[dict[str, Any]] = [{"breakout_threshold": 0.004, "lookback_periods": n} for n in (10, 60, 20)]

    runs = run_kernels(TrendlineBreakKernel, sets, series, config_of({}), SMALL)

    for at, params in enumerate(sets):
        single = run_kernel(TrendlineBreakKernel, params, series, config_of({}), SMALL)
        assert {name: column[at] for name, column in runs.columns.items()} == single.metrics


def test_samples_take_memory_only_when_asked_for() -> None:
    market = KernelMarket.of(bars_of(WALK[:400]), SMALL)

    runs = run_kernels(SmaCross, MIXED, market, config_of({}), SMALL)

    assert runs.samples.shape == (0, 401)


def failing() -> tuple[KernelRuns, list[dict[str, Any]], KernelMarket]:
    volumes = np.full(600, 5.0)
    volumes[10:400] = 5.0 + np.arange(390) % 7
    market = KernelMarket.of(bars_of(WALK[:600], volumes), SMALL)
    sets: list[dict[str, Any]]
    sets = [{"unit": 1.0}, {"unit": 1e200}, {"units": 1.0}, {"qty": 1e-9}, {"unit": 0.5}, {"order_type": "limit"}]
    return run_kernels(AsTold, sets, market, config_of({}), SMALL, samples=True), sets, market


def test_a_set_that_fails_is_told_as_it_would_be_alone_and_the_others_run() -> None:
    runs, sets, market = failing()

    assert list(runs.errors) == [1, 2, 3, 5]
    for at, error in runs.errors.items():
        with pytest.raises((ConfigError, ContractError)) as alone:
            run_kernel(AsTold, sets[at], market, config_of({}), SMALL)
        assert (type(error), str(error)) == (alone.type, str(alone.value))
    for at in (0, 4):
        single = run_kernel(AsTold, sets[at], market, config_of({}), SMALL)
        assert {name: column[at] for name, column in runs.columns.items()} == single.metrics
        assert runs.samples[at, 1:].tolist() == single.equity[market.marks].tolist()


def test_sets_that_all_fail_have_no_columns() -> None:
    runs = run_kernels(SmaCross, [{"fast": 0}, {"qty": 1e-9}], bars_of(WALK[:60]), config_of({}), SMALL)

    assert list(runs.errors) == [0, 1]
    assert not runs.columns
