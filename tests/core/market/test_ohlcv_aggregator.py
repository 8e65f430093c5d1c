"""Trades into minute bars: alignment, gaps, late trades, clock ticks, and a naive oracle that agrees."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.ohlcv_aggregator.main import build
from core.clock import NS_PER_DAY, NS_PER_MINUTE, NS_PER_S
from core.config import load_config
from core.contracts import ClockTick, Contract, FeedChannel, FeedGap, FeedState, FeedStatus, OHLCVBar, TradeEvent
from core.errors import ConfigError
from core.market import bars as bars_module
from core.market.bars import BarAggregator
from core.timeframes import bar_timeframe_ns, timeframe_ns
from core.topics import topic_of

T0 = int(datetime(2025, 9, 30, 23, 0, tzinfo=UTC).timestamp()) * NS_PER_S


def at(minutes: float) -> int:
    return T0 + round(minutes * NS_PER_MINUTE)


def trade(minutes: float, price: float, qty: float = 1.0, symbol: str = "ATOM/USDT", trade_id: str = "") -> TradeEvent:
    return TradeEvent(symbol, price, qty, "buy", at(minutes), trade_id)


def run(aggregator: BarAggregator, events: Iterable[Contract]) -> list[OHLCVBar]:
    return [bar for event in events for bar in aggregator.on_event(event)]


def minute(start: float, o: float, h: float, low: float, c: float, volume: float, trades: int) -> OHLCVBar:
    return OHLCVBar("ATOM/USDT", "1m", at(start), at(start + 1), o, h, low, c, volume, trades)


def test_a_minute_closes_with_the_first_trade_past_its_end() -> None:
    events = [trade(0, 10), trade(0.2, 12, 2), trade(0.5, 9), trade(0.99, 11), trade(1, 50)]

    assert run(BarAggregator(["1m"]), events) == [minute(0, 10, 12, 9, 11, 5, 4)]


def test_a_single_trade_makes_a_bar() -> None:
    assert run(BarAggregator(["1m"]), [trade(0, 10, 3), trade(1, 11)]) == [minute(0, 10, 10, 10, 10, 3, 1)]


def test_a_trade_at_the_end_belongs_to_the_next_minute_and_one_nanosecond_earlier_does_not() -> None:
    last = TradeEvent("ATOM/USDT", 12, 1, "buy", at(1) - 1)

    bars = run(BarAggregator(["1m"]), [trade(0, 10), last, trade(1, 13), trade(2, 14)])

    assert bars == [minute(0, 10, 12, 10, 12, 2, 2), minute(1, 13, 13, 13, 13, 1, 1)]


def test_minutes_without_trades_repeat_the_last_close_in_order() -> None:
    bars = run(BarAggregator(["1m"]), [trade(0, 10), trade(0.5, 11), trade(3.5, 20), trade(4, 21)])

    assert bars == [
        minute(0, 10, 11, 10, 11, 2, 2),
        minute(1, 11, 11, 11, 11, 0, 0),
        minute(2, 11, 11, 11, 11, 0, 0),
        minute(3, 20, 20, 20, 20, 1, 1),
    ]


def test_bars_meet_at_midnight() -> None:
    bars = run(BarAggregator(["1m"]), [trade(59, 10), trade(59.999, 11), trade(60, 12), trade(61, 13)])

    assert bars == [minute(59, 10, 11, 10, 11, 2, 2), minute(60, 12, 12, 12, 12, 1, 1)]
    assert bars[0].ts_close == bars[1].ts_open
    assert bars[0].ts_close % NS_PER_DAY == 0


def test_the_clock_closes_a_minute_after_the_grace_and_not_before() -> None:
    aggregator = BarAggregator(["1m"], grace_ms=2000)
    aggregator.on_event(trade(0, 10))

    assert run(aggregator, [ClockTick(at(1) + 2 * NS_PER_S - 1)]) == []
    assert run(aggregator, [ClockTick(at(1) + 2 * NS_PER_S)]) == [minute(0, 10, 10, 10, 10, 1, 1)]
    assert run(aggregator, [ClockTick(at(1) + 2 * NS_PER_S)]) == []


def test_within_the_grace_a_late_trade_still_counts_and_afterwards_it_is_counted_as_late() -> None:
    aggregator = BarAggregator(["1m"])
    events = [trade(0, 10), ClockTick(at(1) + NS_PER_S), trade(0.9, 99), ClockTick(at(1.1)), trade(0.95, 1)]

    assert run(aggregator, events) == [minute(0, 10, 99, 10, 99, 2, 2)]
    assert aggregator.late_trades == {"ATOM/USDT": 1}


def test_a_late_trade_changes_neither_published_bars_nor_the_open_one() -> None:
    aggregator = BarAggregator(["1m"])

    bars = run(aggregator, [trade(0, 10), trade(1, 11), trade(0.5, 99), trade(2, 12)])

    assert bars == [minute(0, 10, 10, 10, 10, 1, 1), minute(1, 11, 11, 11, 11, 1, 1)]
    assert aggregator.late_trades == {"ATOM/USDT": 1}


def test_nothing_is_published_before_the_first_trade() -> None:
    assert run(BarAggregator(), [ClockTick(at(m)) for m in range(1, 200)]) == []


def test_the_first_minute_is_partial_when_data_began_after_its_start() -> None:
    bars = run(BarAggregator(["1m"]), [trade(0.1, 10), trade(1, 11), trade(2, 12)])

    assert [b.partial for b in bars] == [True, False]


def test_symbols_do_not_disturb_each_other() -> None:
    one = [trade(m / 3, 10 + m % 7) for m in range(30)]
    two = [trade(m / 2, 20 + m % 5, symbol="BTC/USDT") for m in range(20)]
    mixed = sorted([*one, *two], key=lambda t: t.ts)

    together = run(BarAggregator(), mixed)

    assert [b for b in together if b.symbol == "ATOM/USDT"] == run(BarAggregator(), one)
    assert [b for b in together if b.symbol == "BTC/USDT"] == run(BarAggregator(), two)


def test_a_clock_tick_closes_all_symbols_in_the_order_of_their_first_trades() -> None:
    aggregator = BarAggregator(["1m"])
    run(aggregator, [trade(0, 1, symbol="Z/X"), trade(0, 1, symbol="A/X")])

    assert [b.symbol for b in run(aggregator, [ClockTick(at(2))])] == ["Z/X", "A/X"]


def test_a_huge_gap_completes_what_had_begun_and_then_starts_afresh() -> None:
    aggregator = BarAggregator(["1m", "5m"])
    much_later = 3 + bars_module.MAX_GAP_MINUTES + 0.5

    bars = run(aggregator, [trade(0, 10), trade(1, 12), trade(much_later, 20), trade(much_later + 1, 21)])

    assert [(b.timeframe, (b.ts_open - T0) // NS_PER_MINUTE) for b in bars] == [
        *[("1m", m) for m in range(5)],
        ("5m", 0),
        ("1m", int(much_later)),
    ]
    assert [b.partial for b in bars] == [False] * 6 + [True]
    assert aggregator.fresh_starts == {"ATOM/USDT": 1}


def test_a_gap_at_the_limit_is_still_filled() -> None:
    aggregator = BarAggregator(["1m"])

    bars = run(aggregator, [trade(0, 10), trade(1 + bars_module.MAX_GAP_MINUTES, 20)])

    assert len(bars) == 1 + bars_module.MAX_GAP_MINUTES
    assert aggregator.fresh_starts == {"ATOM/USDT": 0}


def test_a_huge_jump_of_the_clock_starts_afresh_too_and_published_time_stays_published() -> None:
    aggregator = BarAggregator(["1m"])
    jump = at(3 + bars_module.MAX_GAP_MINUTES + 0.5)

    bars = run(aggregator, [trade(0, 10), ClockTick(jump), ClockTick(jump + NS_PER_MINUTE), trade(0.5, 11)])
    after = run(aggregator, [trade(7, 12), trade(8, 13)])

    assert bars == [minute(0, 10, 10, 10, 10, 1, 1)]
    assert after == [minute(7, 12, 12, 12, 12, 1, 1)]
    assert aggregator.late_trades == {"ATOM/USDT": 1}


def status(minutes: float, state: FeedState, channel: FeedChannel = "trades") -> FeedStatus:
    return FeedStatus("ATOM/USDT", "v", state, at(minutes), "", channel)


def gap(minutes: float) -> FeedGap:
    return FeedGap("ATOM/USDT", "v", 2, 3, at(minutes), "not to be had")


@pytest.mark.parametrize("state", ["connecting", "stale", "reconnecting"])
def test_bars_that_overlap_an_outage_are_partial_and_those_before_and_after_are_not(state: FeedState) -> None:
    aggregator = BarAggregator(["1m", "5m"])
    events = [
        trade(0, 10), trade(1.5, 10), status(1.6, state), ClockTick(at(3.5)), status(3.6, "live"), trade(3.7, 11),
        *[trade(m, 12) for m in range(4, 12)],
    ]  # fmt: skip

    bars = run(aggregator, events)

    assert [b.partial for b in bars if b.timeframe == "1m"] == [False, True, True, True, *[False] * 7]
    assert [b.partial for b in bars if b.timeframe == "5m"] == [True, False]
    assert aggregator.counters()["partial_minutes"] == 3


def test_an_outage_of_the_order_book_marks_no_bar() -> None:
    bars = run(BarAggregator(["1m"]), [trade(0, 10), status(0.5, "stale", "book"), trade(1, 11), trade(2, 12)])

    assert [b.partial for b in bars] == [False, False]


def test_the_end_of_a_feed_marks_no_bar() -> None:
    bars = run(BarAggregator(["1m"]), [trade(0, 10), status(0.5, "ended"), ClockTick(at(2.5))])

    assert [b.partial for b in bars] == [False, False]


def test_bars_that_overlap_a_recorded_gap_are_partial() -> None:
    aggregator = BarAggregator(["1m", "5m"])

    bars = run(aggregator, [trade(0, 10), trade(1.5, 10), gap(3.2), *[trade(m, 12) for m in (3.2, 4, 5, 6)]])

    assert [b.partial for b in bars if b.timeframe == "1m"] == [False, True, True, True, False, False]
    assert [b.partial for b in bars if b.timeframe == "5m"] == [True]
    assert aggregator.counters()["late_gaps"] == 0


def test_a_gap_that_may_reach_back_into_a_published_minute_is_counted() -> None:
    aggregator = BarAggregator(["1m"])

    run(aggregator, [trade(0.99, 10), ClockTick(at(1.1)), gap(1.2), trade(1.2, 11)])

    assert aggregator.counters()["late_gaps"] == 1


def test_trades_recovered_after_their_minute_was_published_leave_it_partial_and_are_counted() -> None:
    aggregator = BarAggregator(["1m"])
    events = [trade(0, 10), status(0.5, "reconnecting"), ClockTick(at(1.5)), trade(0.6, 11), trade(0.7, 12)]

    (bar,) = run(aggregator, events)

    assert (bar.trades, bar.partial) == (1, True)
    assert aggregator.counters()["late_trades"] == 2


def test_its_counters_have_names_that_fit_a_metric() -> None:
    assert set(BarAggregator().counters()) == {"late_trades", "late_gaps", "partial_minutes", "fresh_starts"}


def test_bars_travel_on_the_topic_of_their_timeframe_and_symbol() -> None:
    (bar,) = run(BarAggregator(["1m"]), [trade(0, 10), trade(1, 11)])

    assert topic_of(bar) == "md.ohlcv.1m.ATOM/USDT"


@pytest.mark.parametrize(
    ("text", "minutes"), [("60s", 1), ("1m", 1), ("15m", 15), ("4h", 240), ("1d", 1440), ("1w", 10_080)]
)
def test_a_timeframe_is_a_number_and_a_unit(text: str, minutes: int) -> None:
    assert timeframe_ns(text) == bar_timeframe_ns(text) == minutes * NS_PER_MINUTE


@pytest.mark.parametrize("text", ["", "m", "0m", "1", "1M", "-1m", "1.5h", "1m ", "01m"])
def test_anything_else_is_no_timeframe(text: str) -> None:
    with pytest.raises(ConfigError, match="such as 1m"):
        timeframe_ns(text)


@pytest.mark.parametrize("text", ["30s", "90s", "7m", "5h", "25h"])
def test_bars_have_only_timeframes_that_align_with_the_wall_clock(text: str) -> None:
    with pytest.raises(ConfigError, match="divide a day"):
        BarAggregator([text])


@pytest.mark.parametrize("timeframes", [[], ["1m", "1m"], ["1m", "60s"], ["1h", "60m"]])
def test_timeframes_must_differ_in_length(timeframes: list[str]) -> None:
    with pytest.raises(ConfigError, match="different lengths"):
        BarAggregator(timeframes)


def test_the_daemon_builds_it_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text(
        dedent("""
            bars:
              timeframes: [4h, 1m]
              grace_ms: 0
        """)
    )

    aggregator = build(load_config(tmp_path, environ={}))

    assert aggregator.timeframes == ("1m", "4h")
    assert run(aggregator, [trade(0, 10), ClockTick(at(1))]) == [minute(0, 10, 10, 10, 10, 1, 1)]


# ---- the oracle: all trades known beforehand, one window at a time


def oracle(trades: Sequence[TradeEvent], timeframe: str, until: int) -> list[OHLCVBar]:
    length = timeframe_ns(timeframe)
    first = trades[0].ts
    start = first - first % length
    bars, close = [], trades[0].price
    while start + length <= until:
        inside = [t for t in trades if start <= t.ts < start + length]
        prices = [t.price for t in inside]
        prices = prices or [close]
        bars.append(
            OHLCVBar(
                trades[0].symbol,
                timeframe,
                start,
                start + length,
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
                float(sum(t.qty for t in inside)),
                len(inside),
                first > start if start <= first else False,
            )
        )
        close = prices[-1]
        start += length
    return bars


steps = st.integers(0, 40) | st.sampled_from([60, 300, 900, 3600]) | st.integers(0, 5000)


@given(
    steps=st.lists(st.tuples(steps, st.integers(1, 50), st.integers(1, 9)), min_size=1, max_size=60),
    offset=st.integers(0, 7200),
    with_clock=st.booleans(),
)
def test_every_bar_is_what_a_naive_oracle_computes(
    steps: list[tuple[int, int, int]], offset: int, with_clock: bool
) -> None:
    trades, now = [], T0 + offset * NS_PER_S
    for step, price, qty in steps:
        now += step * NS_PER_S
        trades.append(TradeEvent("ATOM/USDT", price, qty, "buy", now))
    until = now - now % NS_PER_MINUTE
    events: list[Contract] = list(trades)
    if with_clock:
        ticks = [ClockTick(ts) for ts in range(T0, now, 17 * NS_PER_S)]
        events = sorted([*trades, *ticks], key=lambda e: e.ts_ns)

    bars = run(BarAggregator(), events)

    for timeframe in ("1m", "5m", "15m", "1h"):
        assert [b for b in bars if b.timeframe == timeframe] == oracle(trades, timeframe, until)
    order = [(b.ts_close, timeframe_ns(b.timeframe)) for b in bars]
    assert order == sorted(order)


def test_the_same_events_give_the_same_bars() -> None:
    events = [trade(i * 0.37, 10 + i * 7 % 13, 0.1 * (i % 9 + 1)) for i in range(500)]

    assert run(BarAggregator(), events) == run(BarAggregator(), events)
