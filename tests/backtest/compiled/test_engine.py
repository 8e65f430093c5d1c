"""The compiled engine against the event engine: the same fills, fees and equity, to the last bit."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.compiled.account import MOST_OPEN_LOTS, root, share
from backtest.compiled.engine import CompiledRun, run_kernel, sweep_kernel
from backtest.compiled.market import KernelMarket
from backtest.contracts import BacktestConfig, BacktestResult, FillTiming
from backtest.data.series import BarSeries
from backtest.engine import run_backtest
from core.errors import ConfigError, ContractError
from core.instruments import Instrument, Instruments
from strategies.kernels.rsi_tema_bb import RsiTemaBbKernel
from strategies.kernels.sma_cross import SmaCross
from strategies.kernels.strategy import KernelStrategy
from strategies.kernels.trendline_break import TrendlineBreakKernel
from tests.support.backtests.kernel_cases import MONTH, SMALL, AsTold, bars_of, config_of, month

TIMINGS = (FillTiming.BAR_CLOSE, FillTiming.NEXT_OPEN)
# The columns of a sweep that the event engine's metrics have under the same name.
SHARED = (
    "total_return_pct", "max_drawdown_pct", "max_drawdown_duration_days", "sharpe_ratio", "sortino_ratio", "num_trades",
    "win_rate", "exposure_pct",
)  # fmt: skip


def both(
    strategy: type[KernelStrategy], series: BarSeries, config: BacktestConfig, instrument: Instrument
) -> tuple[BacktestResult, CompiledRun]:
    """The same run in either engine."""
    evented = run_backtest(config, series, strategy, instruments=Instruments([instrument]))
    return evented, run_kernel(strategy, None, series, config, instrument)


def assert_same(evented: BacktestResult, compiled: CompiledRun) -> None:
    """Fills and equity to the last bit, metrics up to the order of their sums."""
    instrument, fees = compiled.market.instrument, compiled.fees
    assert [(fill["ts_fill_ns"], fill["side"], fill["qty"], fill["price"], fill["fee"]) for fill in evented.fills] == [
        (ts_ns, "buy" if lots > 0 else "sell", instrument.qty(abs(lots)), instrument.price(ticks), fee)
        for (_, ts_ns, lots, ticks, _), fee in zip(compiled.fills.tolist(), fees, strict=True)
    ]
    assert evented.equity_curve == list(zip(compiled.market.grid.closes_at, compiled.equity.tolist(), strict=True))
    assert evented.final_capital == compiled.metrics["final_equity"]
    assert evented.round_trips == compiled.round_trips
    for name in SHARED:
        assert compiled.metrics[name] == pytest.approx(evented.metrics[name], rel=1e-9, abs=1e-9), name
    closed = [trip.pnl for trip in evented.round_trips if not trip.is_open]
    assert compiled.metrics["gross_profit"] == pytest.approx(sum(max(pnl, 0.0) for pnl in closed), abs=1e-6)
    assert compiled.metrics["gross_loss"] == pytest.approx(sum(max(-pnl, 0.0) for pnl in closed), abs=1e-6)
    assert compiled.metrics["fees_paid"] == pytest.approx(evented.fees_paid, abs=1e-7)


@pytest.mark.full
@pytest.mark.parametrize(("timing", "final"), [*zip(TIMINGS, ("944078.031", "944052.003"), strict=True)])
def test_a_cross_of_averages_on_the_recorded_month_is_617_round_trips_and_this_equity(
    recorded_data: Path, timing: FillTiming, final: str
) -> None:
    config = config_of({"allow_short": False}, fill_timing=timing, initial_capital=1_000_000.0)
    evented, compiled = both(SmaCross, month(recorded_data), config, MONTH)
    assert compiled.final_equity == Decimal(final)
    assert compiled.metrics["num_trades"] == 617
    assert_same(evented, compiled)


@pytest.mark.full
@pytest.mark.parametrize("timing", TIMINGS)
@pytest.mark.parametrize(
    ("strategy", "params"),
    [
        (SmaCross, {"fast": 7, "slow": 90}),
        (TrendlineBreakKernel, {"lookback_periods": 30, "breakout_threshold": 0.002}),
        (RsiTemaBbKernel, {"rsi_period": 7, "confirm_periods": 9}),
    ],
)
def test_both_engines_agree_on_the_recorded_month(
    recorded_data: Path, timing: FillTiming, strategy: type[KernelStrategy], params: dict[str, Any]
) -> None:
    config = config_of(params, fill_timing=timing, initial_capital=100_000.0, slippage_bps=3.0, slippage_model="range")
    evented, compiled = both(strategy, month(recorded_data), config, MONTH)
    assert len(compiled.fills) > 50
    assert_same(evented, compiled)


CONFIGS = st.fixed_dictionaries(
    {
        "fill_timing": st.sampled_from(TIMINGS),
        "commission_rate": st.sampled_from([0.0, 0.001, -0.0002, 0.000123, 0.05]),
        "slippage_bps": st.sampled_from([0.0, 0.5, 7.0, 300.0, 10_000.0]),
        "slippage_model": st.sampled_from(["fixed", "range", "volume"]),
        "initial_capital": st.sampled_from([10_000.0, 123.456789, 1e7]),
    }
)
INSTRUMENTS = st.sampled_from(
    [
        SMALL,
        Instrument("BTC/USD", Decimal("0.01"), Decimal(1), min_notional=Decimal(95)),
        Instrument("BTC/USD", Decimal("0.001"), Decimal("0.00000001")),
        Instrument("BTC/USD", Decimal("0.0025"), Decimal("0.05"), min_notional=Decimal("33.3")),
    ]
)
EXPOSURES = st.sampled_from([0.0, 1.0, 1.0, -1.0, 0.5, -0.5, 0.34, 2.0, -1.7, 1e-4, -4.0, -4.0])  # -4: no opinion


@pytest.mark.full
@settings(max_examples=150)
@given(
    exposures=st.lists(EXPOSURES, min_size=1, max_size=40),
    moves=st.lists(st.integers(-300, 300), min_size=40, max_size=40),
    minutes=st.sampled_from([1, 180]),
    long_only=st.booleans(),
    changed=CONFIGS,
    instrument=INSTRUMENTS,
)
def test_both_engines_agree_whatever_is_wanted_and_whatever_it_costs(
    exposures: list[float],
    moves: list[int],
    minutes: int,
    long_only: bool,
    changed: dict[str, Any],
    instrument: Instrument,
) -> None:
    # Arrange: the strategy does what the volume says
    closes = 100.0 + np.cumsum(np.array(moves[: len(exposures)])) / 100.0
    series = bars_of(closes, np.array(exposures) + 5.0, minutes)
    config = config_of({"allow_short": not long_only, "qty": 3.0, "silent": 1.0}, **changed)
    # Act, assert
    assert_same(*both(AsTold, series, config, instrument))


@pytest.mark.full
@settings(max_examples=60)
@given(
    moves=st.lists(st.integers(-40, 40), min_size=1, max_size=150),
    params=st.one_of(
        st.tuples(st.just(SmaCross), st.fixed_dictionaries({"fast": st.integers(1, 6), "slow": st.integers(1, 12)})),
        st.tuples(
            st.just(TrendlineBreakKernel),
            st.fixed_dictionaries({"lookback_periods": st.integers(2, 9), "breakout_threshold": st.floats(1e-4, 0.01)}),
        ),
        st.tuples(
            st.just(RsiTemaBbKernel),
            st.fixed_dictionaries(
                {
                    "rsi_period": st.integers(2, 6),
                    "tema_period": st.integers(2, 4),
                    "bb_period": st.integers(2, 8),
                    "bb_std": st.floats(0.3, 1.5),
                }
            ),
        ),
    ),
    changed=CONFIGS,
)
def test_both_engines_agree_on_random_bars_and_parameters(
    moves: list[int], params: tuple[type[KernelStrategy], dict[str, Any]], changed: dict[str, Any]
) -> None:
    series = bars_of(100.0 + np.cumsum(np.array(moves)) / 100.0, minutes=30)
    assert_same(*both(params[0], series, config_of(params[1], **changed), SMALL))


def test_both_engines_agree_on_a_capital_that_is_gone_and_comes_back() -> None:
    # Arrange: days of 100, 90, 101, 103, …: three units bought on a capital of 20 lose it on the second day
    closes = np.repeat([100.0, 90.0, 101.0, 103.0, 99.0], 24)
    series = bars_of(closes, np.full(len(closes), 6.0), minutes=60)
    config = config_of({"qty": 3.0, "silent": 1.0}, initial_capital=20.0)
    # Act
    evented, compiled = both(AsTold, series, config, SMALL)
    # Assert
    assert min(capital for _, capital in evented.equity_curve) < 0 < evented.final_capital
    assert_same(evented, compiled)
    assert evented.metrics["worst_day_pct"] == -100.0


def test_a_sweep_gives_for_every_set_what_a_single_run_gives() -> None:
    series = bars_of(100.0 + np.cumsum(np.random.default_rng(3).normal(0, 0.3, 3_000)), minutes=5)
    grid = np.array([(fast, slow) for fast in range(2, 14) for slow in range(15, 27)], dtype=np.float64)
    config = config_of({}, slippage_bps=2.0)
    columns = sweep_kernel(SmaCross, grid, series, config, SMALL, threads=2)
    for row, (fast, slow) in enumerate(grid.tolist()):
        single = run_kernel(SmaCross, {"fast": int(fast), "slow": int(slow)}, series, config, SMALL)
        assert {name: column[row] for name, column in columns.items()} == single.metrics


class Ships(ThreadPoolExecutor):
    """Hands every task over as bytes, as other processes and machines get it."""

    def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        task, args = pickle.loads(pickle.dumps((task, args)))
        return super().submit(task, *args, **kwargs)


def test_a_sweep_through_an_executor_gives_the_same_in_the_same_order() -> None:
    series = bars_of(100.0 + np.cumsum(np.random.default_rng(3).normal(0, 0.3, 300)), minutes=5)
    grid = np.array([(fast, slow) for fast in range(1, 41) for slow in range(2, 62)], dtype=np.float64)
    here = sweep_kernel(SmaCross, grid, series, config_of({}), SMALL)
    with Ships(2) as executor:
        there = sweep_kernel(SmaCross, grid, series, config_of({}), SMALL, executor=executor)
    assert {name: column.tolist() for name, column in there.items()} == {n: c.tolist() for n, c in here.items()}


GROWTH = """
import resource
import numpy as np
from backtest.compiled.engine import sweep_kernel
from backtest.compiled.market import KernelMarket
from strategies.kernels.sma_cross import SmaCross
from tests.support.backtests.kernel_cases import SMALL, bars_of, config_of

series = bars_of(100.0 + np.cumsum(np.random.default_rng(3).normal(0, 0.3, 6_000)))
grid = np.array([(fast, slow) for fast in range(1, 41) for slow in range(2, 52)], dtype=np.float64)
market = KernelMarket.of(series, SMALL)
sweep_kernel(SmaCross, grid[:2], market, config_of({}), SMALL)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sweep_kernel(SmaCross, grid, market, config_of({}), SMALL)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
"""
"""In a process of its own: a peak that an earlier test reached would hide any growth."""


@pytest.mark.full
def test_a_sweep_needs_memory_for_its_sets_and_its_bars_but_not_for_their_product() -> None:
    """One float for each bar of each set would be 96 MB here."""
    process = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)

    assert int(process.stdout) < 20_000  # KiB, machine code's allocations included


def test_a_kernel_cannot_look_ahead() -> None:
    """Cutting the future off changes nothing that was decided before."""
    series = bars_of(100.0 + np.cumsum(np.random.default_rng(5).normal(0, 0.3, 600)))
    for strategy in (SmaCross, TrendlineBreakKernel, RsiTemaBbKernel):
        params = {"breakout_threshold": 0.004} if strategy is TrendlineBreakKernel else {}
        whole = run_kernel(strategy, params, series, config_of({}), SMALL).fills
        assert len(whole)
        for end in range(1, 600, 37):
            part = run_kernel(strategy, params, series.rows(0, end), config_of({}), SMALL).fills
            assert part.tolist() == whole[whole["bar"] < end].tolist()


def test_a_market_made_once_serves_any_number_of_runs() -> None:
    series = bars_of(np.linspace(90.0, 110.0, 200))
    market = KernelMarket.of(series, SMALL)
    params = {"fast": 2, "slow": 5}
    first, second = (run_kernel(SmaCross, params, each, config_of({}), SMALL) for each in (market, series))
    assert first.metrics == second.metrics


def test_a_market_of_another_instrument_or_time_is_refused() -> None:
    market = KernelMarket.of(bars_of(np.linspace(90.0, 110.0, 200)), SMALL)
    with pytest.raises(ConfigError, match="KernelMarket: expected"):
        run_kernel(SmaCross, {}, market, config_of({}), MONTH)
    with pytest.raises(ConfigError, match="KernelMarket: expected"):
        run_kernel(SmaCross, {}, market, dataclasses.replace(config_of({}), start_ts=5), SMALL)


def test_the_time_of_the_configuration_cuts_the_bars() -> None:
    series = bars_of(100.0 + np.cumsum(np.random.default_rng(5).normal(0, 0.3, 400)))
    config = config_of({"fast": 3, "slow": 8}, fill_timing=FillTiming.NEXT_OPEN)
    config = dataclasses.replace(config, start_ts=int(series.ts_open[50]), end_ts=int(series.ts_open[300]))
    evented, compiled = both(SmaCross, series, config, SMALL)
    assert len(compiled.market) == 250
    assert_same(evented, compiled)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"risk": True}, "BacktestConfig.risk: expected False"),
        ({"fill_timing": FillTiming.NEXT_TRADE}, "BacktestConfig.fill_timing: expected bar_close or next_open"),
        ({"symbols": ("BTC/USD", "ETH/USD")}, "expected one symbol"),
    ],
)
def test_what_a_compiled_run_does_not_do_it_refuses(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_kernel(SmaCross, {}, bars_of(np.full(60, 100.0)), config_of({}, **changed), SMALL)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"fast": 0}, "fast"),
        ({"order_type": "limit"}, "order_type: expected market"),
        ({"period_s": 5.0}, "period_s: expected 0"),
        ({"qty": 0.0001}, "qty: expected at least one lot"),
        ({"quick": 3}, "expected .*fast, slow"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(params: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        run_kernel(SmaCross, params, bars_of(np.full(60, 100.0)), config_of({}), SMALL)


def test_a_grid_of_another_shape_is_refused_with_the_names_of_its_columns() -> None:
    with pytest.raises(ConfigError, match="a column for each of fast, slow, got the shape"):
        sweep_kernel(SmaCross, np.ones((4, 3)), bars_of(np.full(60, 100.0)), config_of({}), SMALL)


@pytest.mark.parametrize("qty", [1e9, 1e15])
def test_amounts_that_could_overflow_are_refused(qty: float) -> None:
    series = bars_of(np.full(10, 50_000.0), np.full(10, 6.0))
    with pytest.raises(ContractError, match=r"below 2\^60 units of 1e-8 USD"):
        run_kernel(AsTold, {"qty": qty}, series, config_of({}), SMALL)


FINE_LOTS = Instrument("BTC/USD", Decimal("0.01"), Decimal("0.00000001"))


def test_a_volume_of_more_lots_than_64_bits_hold_slips_exactly_or_is_refused() -> None:
    series = bars_of(np.full(4, 0.05), np.array([5.0, 1e12, 5.0, 5.0]))  # a bar of 1e20 lots
    config = config_of({"unit": 1e-12, "silent": 1.0}, slippage_bps=10_000.0, slippage_model="volume")

    evented = run_backtest(config, series, AsTold, instruments=Instruments([FINE_LOTS]))

    assert evented.fills[0]["price"] == 0.06  # a share too small to see: one step, not all of the price
    with pytest.raises(ContractError, match=r"below 2\^60 lots with slippage by volume, got a bar of 100,000,000,000,"):
        run_kernel(AsTold, None, series, config, FINE_LOTS)


def test_a_volume_of_more_lots_than_64_bits_hold_does_not_matter_where_nothing_depends_on_it() -> None:
    series = bars_of(np.full(4, 0.05), np.array([5.0, 1e12, 5.0, 5.0]))

    evented, compiled = both(AsTold, series, config_of({"unit": 1e-12, "silent": 1.0}), FINE_LOTS)

    assert len(compiled.fills) == 2
    assert_same(evented, compiled)


def test_an_exposure_beyond_all_bounds_is_refused() -> None:
    series = bars_of(np.full(4, 100.0), np.array([5.0, 5.0, 6.0, 5.0]))
    with pytest.raises(ContractError, match=r"AsTold, set .*: .* below 2\^60 units"):
        run_kernel(AsTold, {"unit": 1e200}, series, config_of({}), SMALL)


@given(amount=st.integers(-(2**60), 2**60), of=st.integers(1, 2**60), part=st.floats(0.0, 1.0))
def test_a_share_is_exact_where_the_product_does_not_fit(amount: int, of: int, part: float) -> None:
    lots = min(max(int(of * part), 1), of)
    assert share(amount, lots, of) == amount * lots // of


@given(square=st.integers(0, 2**60))
def test_a_root_is_the_whole_one(square: int) -> None:
    assert root(square) == isqrt(square)


def test_more_open_lots_than_the_queue_holds_are_refused() -> None:
    count = MOST_OPEN_LOTS + 5
    series = bars_of(100.0 + np.arange(count) / 100.0, 5.0 + np.arange(count) / 1_000.0)
    with pytest.raises(ContractError, match=f"at most {MOST_OPEN_LOTS} open lots"):
        run_kernel(AsTold, {"qty": 1.0}, series, config_of({}, initial_capital=1e6), SMALL)
