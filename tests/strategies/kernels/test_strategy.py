"""Kernel strategies as any host runs them: their signals, their reload, their orders, their place in the registry."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.compiled.engine import run_kernel
from backtest.contracts import BacktestConfig
from backtest.data.series import BarSeries
from backtest.engine import run_backtest
from core import ids
from core.bus import MemoryBus
from core.contracts import Contract, OHLCVBar, OrderCancel, OrderIntent, RiskDecision
from core.errors import ConfigError
from core.instruments import Instrument, Instruments
from strategies import kernels
from strategies.context import StrategyContext
from strategies.kernels import sma_cross
from strategies.kernels.rsi_tema_bb import RsiTemaBbKernel
from strategies.kernels.sma_cross import SmaCross
from strategies.kernels.strategy import KernelStrategy
from strategies.kernels.trendline_break import TrendlineBreakKernel
from strategies.manager import StrategyManager
from strategies.registry import StrategyRegistry
from strategies.samples.rsi_tema_bb import RsiTemaBb
from strategies.samples.trendline_break import TrendlineBreak
from tests.support.backtests.kernel_cases import MONTH, SMALL, SYMBOL, AsTold, bars_of, config_of, month

OTHER = "ETH/USD"
INSTRUMENTS = Instruments([SMALL, Instrument(OTHER, Decimal("0.01"), Decimal("0.001"))])
SAMPLES = [
    (TrendlineBreak, TrendlineBreakKernel, {"lookback_periods": 12, "breakout_threshold": 0.003}),
    (RsiTemaBb, RsiTemaBbKernel, {"rsi_period": 7, "tema_period": 4, "bb_period": 10, "bb_std": 1.5}),
]


def strategy_of(kernel: type[KernelStrategy], **params: Any) -> KernelStrategy:
    """A kernel strategy by itself, flat for ever."""
    context = StrategyContext("k", MemoryBus(), {}, {}, params, symbols=(SYMBOL, OTHER), instruments=INSTRUMENTS)
    return kernel(context)


def answers(strategy: KernelStrategy, events: Iterable[Contract]) -> list[OrderIntent | OrderCancel]:
    """All that it answers."""
    return [answer for event in events for answer in strategy.on_event(event)]


def random_bars(count: int, seed: int = 11) -> BarSeries:
    return bars_of(100.0 + np.cumsum(np.random.default_rng(seed).normal(0.0, 0.2, count)))


def trades_of(kernel: Any, sample: Any, series: BarSeries, config: BacktestConfig, instrument: Instrument) -> list[Any]:
    """Times and signed quantities of the kernel's fills, after they have been found to be the sample's."""
    compiled = run_kernel(kernel, None, series, config, instrument).fills
    ours = [(ts_ns, lots) for _, ts_ns, lots, _, _ in compiled.tolist()]
    evented = run_backtest(config, series, sample, instruments=Instruments([instrument]))
    sign = {"buy": 1, "sell": -1}
    assert ours == [(f["ts_fill_ns"], sign[f["side"]] * instrument.lots(f["qty"])) for f in evented.fills]
    return ours


# A sample sums every window anew with correct rounding, its kernel carries sums along: they may part where a price lies
# within one part in 10^11 of a threshold, which neither recorded nor random prices do.


@pytest.mark.parametrize(("sample", "kernel", "params"), SAMPLES)
def test_a_kernel_trades_as_the_sample_it_was_made_from_on_recorded_bars(
    recorded_data: Path, sample: Any, kernel: Any, params: dict[str, Any]
) -> None:
    series = month(recorded_data).rows(0, 12_000)
    assert len(trades_of(kernel, sample, series, config_of(params, initial_capital=1e6), MONTH)) > 30


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), which=st.sampled_from(SAMPLES), long_only=st.booleans())
def test_a_kernel_trades_as_the_sample_it_was_made_from_on_random_bars(seed: int, which: Any, long_only: bool) -> None:
    sample, kernel, params = which
    config = config_of({**params, "allow_short": not long_only})
    trades_of(kernel, sample, random_bars(300, seed), config, SMALL)


def test_the_registry_finds_kernels_like_samples() -> None:
    registry = StrategyRegistry()
    registry.discover("strategies.kernels")
    assert registry.failures == {}
    assert registry.get("sma_cross_kernel_v1").__name__ == SmaCross.__name__
    assert registry.get("trendline_break_kernel_v1").__name__ == TrendlineBreakKernel.__name__
    assert registry.get("rsi_tema_bb_kernel_v1").__name__ == RsiTemaBbKernel.__name__


def test_the_manager_runs_a_kernel_like_any_strategy_and_carries_it_over_a_reload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, sma_cross.__name__, sma_cross)  # back when the reloads are over
    monkeypatch.setattr(kernels, "sma_cross", sma_cross)
    # Arrange: a cross upwards at the last bar
    closes = np.concatenate([np.full(6, 100.0), [99.0, 98.0, 97.0, 96.0, 99.0, 103.0]])
    entry = {
        "id": "cross",
        "class": "strategies.kernels.sma_cross.SmaCross",
        "symbols": [SYMBOL],
        "events": ["md.ohlcv.1m.*"],
        "params": {"fast": 2, "slow": 5, "qty": 0.5},
    }
    manager = StrategyManager(StrategyRegistry(), MemoryBus(), instruments=INSTRUMENTS, budget_s=None)
    manager.install({"strategies": [entry]})
    assert manager.failures == {}
    # Act: everything is loaded anew between any two bars
    given_by = []
    for bar in bars_of(closes).events:
        given_by += manager.on_event(bar)
        manager.renew()
    # Assert
    (intent,) = given_by
    assert isinstance(intent, OrderIntent)
    assert (intent.side, intent.qty, intent.type) == ("buy", 0.5, "market")


@pytest.mark.parametrize("kernel", [SmaCross, TrendlineBreakKernel, RsiTemaBbKernel])
def test_a_successor_carries_on_where_its_predecessor_stopped(kernel: Any) -> None:
    params = {"breakout_threshold": 0.003} if kernel is TrendlineBreakKernel else {}
    events = random_bars(400).events
    whole = answers(strategy_of(kernel, **params), events)
    assert whole
    first, second = strategy_of(kernel, **params), strategy_of(kernel, **params)
    begun = answers(first, events[:207])
    second.load_state(first.state())
    assert begun + answers(second, events[207:]) == whole


def test_a_successor_with_other_parameters_starts_cold() -> None:
    events = random_bars(300).events
    first, second = strategy_of(SmaCross, fast=3, slow=7), strategy_of(SmaCross, fast=4, slow=9)
    answers(first, events[:200])
    second.load_state(first.state())
    assert answers(second, events[200:]) == answers(strategy_of(SmaCross, fast=4, slow=9), events[200:])


def test_symbols_do_not_share_state() -> None:
    bars = random_bars(300).events
    others = [
        OHLCVBar(OTHER, b.timeframe, b.ts_open, b.ts_close, b.open + 1, b.high + 1, b.low + 1, b.close + 1, b.volume)
        for b in random_bars(300, 5).events
    ]
    alone = answers(strategy_of(SmaCross, fast=3, slow=9), bars)
    mixed = answers(
        strategy_of(SmaCross, fast=3, slow=9), [each for pair in zip(bars, others, strict=True) for each in pair]
    )
    assert [answer for answer in mixed if answer.symbol == SYMBOL] == alone


def test_an_order_is_sent_when_the_answer_changes_and_not_again_while_it_stays() -> None:
    bars = bars_of(np.full(7, 100.0), np.array([6.0, 6.0, 1.0, 6.0, 6.0, 4.0, 4.0])).events
    strategy = strategy_of(AsTold)
    asked = [bool(answers(strategy, [bar])) for bar in bars]
    assert asked == [True, False, False, True, False, True, False]  # the third bar says nothing, which is a change


def test_a_denied_order_is_tried_again_only_when_the_answer_changes() -> None:
    first, second, third = bars_of(np.full(3, 100.0), np.array([6.0, 6.0, 4.0])).events
    strategy = strategy_of(AsTold)
    (intent,) = answers(strategy, [first])
    assert isinstance(intent, OrderIntent)
    denial = RiskDecision(
        intent.intent_id, False, "ORDER_RATE: rate=61 cap=60", {}, ids.decision_id(intent.intent_id),
        strategy_id="k", symbol=SYMBOL, ts_decided_ns=first.ts_ns,
    )  # fmt: skip
    assert answers(strategy, [denial, second]) == []
    (turn,) = answers(strategy, [third])
    assert isinstance(turn, OrderIntent)
    assert (turn.side, turn.qty) == ("sell", 1.0)


@pytest.mark.parametrize(("exposure", "lots"), [(0.3334, 333), (0.0005, 0), (-1.2346, -1235), (2.0, 2000)])
def test_exposure_is_rounded_to_the_nearest_lot(exposure: float, lots: int) -> None:
    strategy = strategy_of(AsTold)
    found = answers(strategy, bars_of(np.full(1, 100.0), np.array([5.0 + exposure])).events)
    signed = [
        SMALL.lots(each.qty) * (1 if each.side == "buy" else -1) for each in found if isinstance(each, OrderIntent)
    ]
    assert signed == ([lots] if lots else [])


def test_trades_and_parameters_for_trades_are_not_a_kernels() -> None:
    with pytest.raises(ConfigError, match="period_s: expected 0"):
        strategy_of(SmaCross, period_s=5.0)


@pytest.mark.parametrize("kernel", [SmaCross, TrendlineBreakKernel, RsiTemaBbKernel])
def test_there_is_no_opinion_before_the_warm_up_is_over(kernel: Any) -> None:
    params = {"breakout_threshold": 1e-9} if kernel is TrendlineBreakKernel else {}
    model = kernel.Params(**params)
    for seed in range(20):
        strategy = strategy_of(kernel, **params)
        assert answers(strategy, random_bars(kernel.warm_up(model) - 1, seed).events) == []
