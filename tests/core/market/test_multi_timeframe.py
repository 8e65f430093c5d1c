"""Longer bars from minute bars: aligned, in order, without drift, and equal to an independent resampling."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import reduce
from operator import add
from pathlib import Path

import pytest

from core.clock import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from core.contracts import ClockTick, Contract, OHLCVBar, Side, TradeEvent
from core.market.bars import BarAggregator
from core.timeframes import timeframe_ns

MIDNIGHT = 1_759_190_400 * NS_PER_S  # 30 September 2025
TIMEFRAMES = ("1m", "5m", "15m", "1h")


def run(aggregator: BarAggregator, events: Iterable[Contract]) -> list[OHLCVBar]:
    return [bar for event in events for bar in aggregator.on_event(event)]


def trade(ts: int, price: float, qty: float = 1.0, symbol: str = "ATOM/USDT") -> TradeEvent:
    return TradeEvent(symbol, price, qty, "buy", ts)


def of(bars: Iterable[OHLCVBar], timeframe: str, symbol: str = "ATOM/USDT") -> list[OHLCVBar]:
    return [b for b in bars if (b.timeframe, b.symbol) == (timeframe, symbol)]


def a_day(symbol: str = "ATOM/USDT", seed: int = 1) -> list[Contract]:
    """24 hours: trades at random, quiet stretches, and the clock once a second."""
    source = random.Random(seed)
    events: list[Contract] = [trade(MIDNIGHT, 10.0, symbol=symbol)]
    price = 1000
    for second in range(1, 86_401):
        price = max(1, price + source.randint(-3, 3))
        quiet = 30_000 < second < 35_000
        if not quiet and source.random() < 0.2:
            ts = MIDNIGHT + second * NS_PER_S - source.randint(1, 999) * NS_PER_MS
            events.append(trade(ts, price / 100, source.randint(1, 500) / 100, symbol))
        events.append(ClockTick(MIDNIGHT + second * NS_PER_S))
    events.append(ClockTick(MIDNIGHT + NS_PER_DAY + 2 * NS_PER_S))
    return events


def test_a_day_has_every_bar_once_on_the_wall_clock_without_drift() -> None:
    bars = run(BarAggregator(), a_day())

    for timeframe in TIMEFRAMES:
        length = timeframe_ns(timeframe)
        assert [b.ts_open for b in of(bars, timeframe)] == list(range(MIDNIGHT, MIDNIGHT + NS_PER_DAY, length))
        assert {b.ts_close - b.ts_open for b in of(bars, timeframe)} == {length}
        assert not any(b.partial for b in of(bars, timeframe))


def test_longer_bars_are_exactly_what_their_minutes_say() -> None:
    bars = run(BarAggregator(), a_day())
    minutes = of(bars, "1m")

    for timeframe in TIMEFRAMES[1:]:
        for bar in of(bars, timeframe):
            inside = [m for m in minutes if bar.ts_open <= m.ts_open < bar.ts_close]
            traded = [m for m in inside if m.trades] or inside
            assert bar.open == traded[0].open
            assert bar.high == max(m.high for m in traded)
            assert bar.low == min(m.low for m in traded)
            assert bar.close == inside[-1].close
            assert bar.volume == reduce(add, (m.volume for m in inside))  # sum() rounds otherwise since Python 3.12
            assert bar.trades == sum(m.trades for m in inside)


def test_longer_bars_follow_the_minute_that_completes_them_shortest_first() -> None:
    bars = run(BarAggregator(["1h", "15m", "1m", "5m"]), a_day())

    at_two = [b.timeframe for b in bars if b.ts_close == MIDNIGHT + 120 * NS_PER_MINUTE]

    assert at_two == ["1m", "5m", "15m", "1h"]
    assert [b.ts_close for b in bars] == sorted(b.ts_close for b in bars)


def test_symbols_aggregate_side_by_side() -> None:
    one, two = a_day("ATOM/USDT", 1), a_day("BTC/USDT", 2)
    mixed = sorted(
        [*one, *(e for e in two if isinstance(e, TradeEvent))], key=lambda e: (e.ts_ns, isinstance(e, ClockTick))
    )

    together = run(BarAggregator(), mixed)

    alone = {"ATOM/USDT": run(BarAggregator(), one), "BTC/USDT": run(BarAggregator(), two)}
    for symbol, bars in alone.items():
        assert [b for b in together if b.symbol == symbol] == bars


def test_a_longer_window_that_ran_when_data_began_is_partial_and_the_next_is_not() -> None:
    start = MIDNIGHT + 7 * NS_PER_MINUTE

    bars = run(BarAggregator(), [trade(start + i * NS_PER_MINUTE, 10) for i in range(120)])

    assert [b.partial for b in of(bars, "1m")] == [False] * 119
    assert [b.partial for b in of(bars, "5m")][:3] == [True, False, False]
    assert [b.partial for b in of(bars, "15m")][:3] == [True, False, False]
    assert [b.partial for b in of(bars, "1h")] == [True, False]


def test_a_partial_minute_makes_the_longer_bars_around_it_partial() -> None:
    bars = run(BarAggregator(), [trade(MIDNIGHT + 1 + i * NS_PER_MINUTE, 10) for i in range(62)])

    assert [of(bars, t)[0].partial for t in TIMEFRAMES] == [True] * 4
    assert not any(of(bars, t)[1].partial for t in TIMEFRAMES[:3])


def test_without_minutes_among_the_timeframes_only_the_longer_bars_are_published() -> None:
    events = a_day()

    assert run(BarAggregator(["15m"]), events) == of(run(BarAggregator(), events), "15m")


def test_a_longer_bar_opens_at_the_price_of_its_first_trade_when_its_first_minutes_are_empty() -> None:
    events = [trade(MIDNIGHT, 100), trade(MIDNIGHT + 9 * NS_PER_MINUTE, 120), trade(MIDNIGHT + 10 * NS_PER_MINUTE, 121)]

    fives = of(run(BarAggregator(), events), "5m")

    assert [(b.open, b.high, b.low, b.close) for b in fives] == [(100, 100, 100, 100), (120, 120, 120, 120)]


def test_a_longer_window_without_trades_is_flat_at_the_last_close() -> None:
    events = [trade(MIDNIGHT, 90), trade(MIDNIGHT + 1, 100), trade(MIDNIGHT + 10 * NS_PER_MINUTE, 120)]

    _, empty = of(run(BarAggregator(), events), "5m")

    assert (empty.open, empty.high, empty.low, empty.close, empty.volume, empty.trades) == (100, 100, 100, 100, 0, 0)


def minutes_at(*starts: int, trades: int = 0, volume: float = 1.0) -> list[OHLCVBar]:
    """Minute bars of a file, which counts no trades: minute N opens at 100 + N."""
    return [
        OHLCVBar(
            "ATOM/USDT", "1m", MIDNIGHT + n * NS_PER_MINUTE, MIDNIGHT + (n + 1) * NS_PER_MINUTE,
            100.0 + n, 101.0 + n, 99.0 + n, 100.5 + n, volume, trades,
        )
        for n in starts
    ]  # fmt: skip


@pytest.mark.parametrize("missing", [0, 2, 4])
def test_a_window_of_recorded_minutes_is_published_and_partial_whichever_minute_is_missing(missing: int) -> None:
    starts = [n for n in range(11) if n != missing]

    first, second = of(BarAggregator(["1m", "5m"]).catch_up(minutes_at(*starts), ()), "5m")

    inside = [n for n in range(5) if n != missing]
    assert (first.ts_open, first.ts_close) == (MIDNIGHT, MIDNIGHT + 5 * NS_PER_MINUTE)
    assert (first.open, first.close, first.volume) == (100 + inside[0], 100.5 + inside[-1], 4)
    assert (first.partial, second.partial) == (True, False)


def test_a_minute_can_complete_its_own_window_and_the_one_before_it() -> None:
    fives = of(BarAggregator(["1m", "5m"]).catch_up(minutes_at(0, 1, 9), ()), "5m")

    assert [(b.ts_open - MIDNIGHT) // NS_PER_MINUTE for b in fives] == [0, 5]


def test_minutes_of_a_market_without_volume_count_by_their_prices() -> None:
    (bar,) = of(BarAggregator(["1m", "5m"]).catch_up(minutes_at(0, 1, 2, 3, 4, volume=0.0), ()), "5m")

    assert (bar.open, bar.high, bar.low, bar.close) == (100, 105, 99, 104.5)


@pytest.mark.parametrize("timeframe", ["7d", "1w", "14d"])
def test_weeks_start_on_mondays(timeframe: str) -> None:
    days = [trade(MIDNIGHT + day * NS_PER_DAY + hour * NS_PER_DAY // 4, 10) for day in range(40) for hour in range(4)]

    bars = of(run(BarAggregator(["1m", timeframe]), days), timeframe)

    assert bars
    assert {datetime.fromtimestamp(b.ts_open // NS_PER_S, UTC).isoweekday() for b in bars} == {1}


def test_longer_bars_of_minutes_with_gaps_equal_a_pandas_resample() -> None:
    pandas = pytest.importorskip("pandas")
    source = random.Random(5)
    starts = [n for n in range(3_000) if source.random() < 0.7 and not 700 < n < 1_400]
    minutes = minutes_at(*starts)

    made = BarAggregator(["1m", "5m", "1h", "1d"]).catch_up(minutes, ())

    frame = pandas.DataFrame([(m.open, m.high, m.low, m.close, m.volume) for m in minutes], columns=list("ohlcv"))
    frame.index = pandas.to_datetime([m.ts_open for m in minutes], unit="ns", utc=True)
    for timeframe in ("5m", "1h", "1d"):
        length = timeframe_ns(timeframe)
        rules = {"o": "first", "h": "max", "l": "min", "c": "last", "v": "sum"}
        judge = frame.resample(f"{length // NS_PER_MINUTE}min").agg(rules).dropna()
        judge = judge[judge.index.as_unit("ns").asi8 + length <= minutes[-1].ts_close]
        ours = of(made, timeframe)
        assert [b.ts_open for b in ours] == list(judge.index.as_unit("ns").asi8)
        assert [(b.open, b.high, b.low, b.close, b.volume) for b in ours] == list(judge.itertuples(index=False))


def test_a_daily_bar_covers_the_utc_day() -> None:
    (bar,) = of(run(BarAggregator(["1m", "1d"]), a_day()), "1d")

    assert (bar.ts_open, bar.ts_close) == (MIDNIGHT, MIDNIGHT + NS_PER_DAY)


# ---- recorded trades against pandas


def recorded_trades(capture: Path) -> list[TradeEvent]:
    """The venue's trade messages, read with nothing of ours."""
    trades = []
    with gzip.open(capture, "rt") as lines:
        for line in lines:
            received, _, text = line.partition(" ")
            message = json.loads(text)
            if not message.get("stream", "").endswith("@trade"):
                continue
            data = message["data"]
            side: Side = "sell" if data["m"] else "buy"
            price, qty, ts = float(data["p"]), float(data["q"]), data["T"] * NS_PER_MS
            trades.append(TradeEvent(data["s"], price, qty, side, ts, str(data["t"]), "binance", int(received)))
    return trades


@pytest.mark.parametrize(("capture", "count"), [("btcusdt", 9757), ("ethusdt", 6106)])
@pytest.mark.parametrize("times", [1, 13])
def test_complete_windows_equal_a_pandas_resample(recorded_data: Path, capture: str, count: int, times: int) -> None:
    """``times`` stretches the 346 s of the capture so that every timeframe has complete windows."""
    pandas = pytest.importorskip("pandas")
    recorded = recorded_trades(recorded_data / f"binance_spot_{capture}_20240808.raw.gz")
    assert len(recorded) == count
    start = recorded[0].ts
    trades = [TradeEvent(t.symbol, t.price, t.qty, t.side, start + (t.ts - start) * times) for t in recorded]

    bars = run(BarAggregator(), trades)

    frame = pandas.DataFrame({"ts": [t.ts for t in trades], "price": [t.price for t in trades]})
    frame["qty"] = [t.qty for t in trades]
    indexed = frame.set_index(pandas.to_datetime(frame["ts"], unit="ns", utc=True))
    complete = 0
    for timeframe in TIMEFRAMES:
        length = timeframe_ns(timeframe)
        resampled = indexed.resample(f"{length // NS_PER_MINUTE}min")
        expected = resampled["price"].ohlc().assign(volume=resampled["qty"].sum(), trades=resampled["qty"].count())
        whole = expected[
            (expected.index.as_unit("ns").asi8 >= start) & (expected.index.as_unit("ns").asi8 + length <= trades[-1].ts)
        ]
        ours = [b for b in bars if b.timeframe == timeframe and not b.partial]
        assert [b.ts_open for b in ours] == list(whole.index.as_unit("ns").asi8)
        for bar, row in zip(ours, whole.itertuples(), strict=True):
            assert (bar.open, bar.high, bar.low, bar.close) == (row.open, row.high, row.low, row.close)
            assert bar.volume == pytest.approx(row.volume, abs=1e-9, rel=1e-12)
            assert bar.trades == row.trades
        complete += len(ours)
    assert complete >= 5
    if times > 1:
        assert {b.timeframe for b in bars if not b.partial} == set(TIMEFRAMES)
