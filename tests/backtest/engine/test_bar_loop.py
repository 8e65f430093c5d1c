"""The fast bar loop against the reference one: the same bytes, whatever the bars, the strategies and the limits."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from backtest.contracts import FillTiming, SlippageModel
from backtest.engine import BacktestEngine
from risk.limits import RiskLimits
from tests.support.backtests.runs import ATOM, BTC, CONFIG, INSTRUMENTS, SlowEngine, erratic, lines_of, walk

LIMITS = st.builds(
    RiskLimits,
    per_order_usd_cap=st.sampled_from([30.0, 100.0, 1e9]),
    daily_loss_usd_cap=st.sampled_from([0.2, 1.0, 5.0, 1e9]),
    orders_per_min_cap=st.sampled_from([1, 3, 1000]),
    position_usd_cap=st.sampled_from([60.0, 1e9]),
    price_collar_bps=st.sampled_from([20.0, 1e9]),
    max_price_age_ms=st.sampled_from([1, 10_000, 10**9]),
)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 160),
    symbols=st.sampled_from([(ATOM,), (ATOM, BTC)]),
    longer=st.booleans(),
    eagerness=st.sampled_from([0.02, 0.1, 0.5]),
    names=st.sampled_from([("a",), ("b", "a")]),
    timing=st.sampled_from([FillTiming.BAR_CLOSE, FillTiming.NEXT_OPEN]),
    slippage=st.sampled_from([("fixed", 0.0), ("fixed", 7.0), ("range", 900.0), ("volume", 30.0)]),
    risk=st.sampled_from([True, True, True, False]),
    limits=LIMITS,
)
def test_skipping_what_cannot_matter_changes_not_a_byte(
    seed: int,
    count: int,
    symbols: tuple[str, ...],
    longer: bool,
    eagerness: float,
    names: tuple[str, ...],
    timing: FillTiming,
    slippage: tuple[SlippageModel, float],
    risk: bool,
    limits: RiskLimits,
) -> None:
    model, bps = slippage
    config = replace(
        CONFIG,
        symbols=symbols,
        fill_timing=timing,
        slippage_model=model,
        slippage_bps=bps,
        maker_rate=2e-4,
        risk=risk,
    )
    data = [walk(seed, count, symbol) for symbol in symbols]
    if longer:
        data.append(walk(seed, max(1, count // 5), ATOM, minutes=5))
    entrants = erratic(names, symbols, seed, eagerness)

    fast = BacktestEngine(config, entrants, data, INSTRUMENTS, limits)
    slow = SlowEngine(config, entrants, data, INSTRUMENTS, limits)
    result, reference = fast.run(), slow.run()

    assert lines_of(fast) == lines_of(slow)
    assert result == reference
    assert result.equity_curve == slow.tracked()
