"""Bars on disk: the right files, one line each, read back exactly; and what a restart makes of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from core.clock import NS_PER_MINUTE, NS_PER_S
from core.codec import encode
from core.contracts import ClockTick, Contract, FeedGap, FeedStatus, OHLCVBar, TradeEvent
from core.journal import JournalReader, NdjsonJournal
from core.market.bars import BarAggregator
from core.market.bars_recovery import catch_up_from_journals
from core.topics import BY_CONTRACT

T0 = 1_759_273_200 * NS_PER_S  # 30 September 2025, 23:00 UTC
TIMEFRAMES = ("1m", "5m", "15m", "1h")


def trades(count: int, seed: int = 7) -> list[TradeEvent]:
    source = random.Random(seed)
    made, ts = [], T0
    for i in range(count):
        made.append(
            TradeEvent("ATOM/USDT", source.randint(900, 1100) / 100, source.randint(1, 99) / 10, "buy", ts, str(i))
        )
        ts += source.choice([1, 5, 20, 70, 200]) * NS_PER_S + source.randint(0, 999)
    return made


def journal(folder: Path, events: Iterable[Contract]) -> None:
    """Write each event to the journal that the topics table names, flushed one by one."""
    for event in events:
        row = BY_CONTRACT[type(event)]
        stream = row.journal_name(event, row.producers[0])
        with NdjsonJournal(folder / f"{stream}.ndjson") as file:
            file.append(encode(event), event.ts_ns)


def run(aggregator: BarAggregator, events: Iterable[Contract]) -> list[OHLCVBar]:
    return [bar for event in events for bar in aggregator.on_event(event)]


def test_each_symbol_and_timeframe_has_its_own_journal_of_one_line_per_bar(tmp_path: Path) -> None:
    bars = run(BarAggregator(), trades(60))
    inside_the_day = [b for b in bars if b.ts_close < T0 + 60 * NS_PER_MINUTE]

    journal(tmp_path, inside_the_day)

    assert sorted(p.name for p in tmp_path.iterdir()) == [f"ohlcv.{t}.ATOMUSDT.ndjson" for t in ("15m", "1m", "5m")]
    lines = (tmp_path / "ohlcv.5m.ATOMUSDT.ndjson").read_text().splitlines()
    assert [OHLCVBar.from_dict(json.loads(line)) for line in lines] == [
        b for b in inside_the_day if b.timeframe == "5m"
    ]


def test_what_is_read_back_is_what_was_published(tmp_path: Path) -> None:
    bars = run(BarAggregator(), trades(200))

    journal(tmp_path, bars)

    reader = JournalReader(tmp_path)
    for timeframe in TIMEFRAMES:
        read = list(reader.read_bars("ATOM/USDT", timeframe, 0, 2**62))
        assert read == [b for b in bars if b.timeframe == timeframe]
        assert read


@pytest.mark.parametrize("crash_after_bars", [1, 2, 3, 60, 61, 62, 63, 64, 65, 66, 67, 100, 150])
@pytest.mark.parametrize("downtime", [0, 1, 20])
def test_after_a_crash_at_any_bar_all_bars_are_published_once_and_are_the_same(
    tmp_path: Path, crash_after_bars: int, downtime: int
) -> None:
    everything = trades(220)
    expected = run(BarAggregator(), everything)
    published: list[OHLCVBar] = []
    received = 0
    aggregator = BarAggregator()
    for trade in everything:
        received += 1
        published += aggregator.on_event(trade)
        if len(published) >= crash_after_bars:
            break
    published = published[:crash_after_bars]  # killed between two bars of one answer
    journaled = received + downtime  # the feed went on
    journal(tmp_path, [*everything[:journaled], *published])

    restarted = BarAggregator()
    due = catch_up_from_journals(restarted, tmp_path, ["ATOM/USDT"])
    overlapping = everything[max(0, journaled - 5) :]  # the feed is heard before the journal is read to its end
    published += due + run(restarted, overlapping)

    for timeframe in TIMEFRAMES:
        assert [b for b in published if b.timeframe == timeframe] == [b for b in expected if b.timeframe == timeframe]


def test_flat_minutes_before_the_crash_are_remembered(tmp_path: Path) -> None:
    before = [
        TradeEvent("ATOM/USDT", 10.0, 1.0, "buy", T0, "1"),
        ClockTick(T0 + 64 * NS_PER_MINUTE),
    ]
    after = TradeEvent("ATOM/USDT", 20.0, 1.0, "buy", T0 + 64 * NS_PER_MINUTE, "2")
    end = ClockTick(T0 + 121 * NS_PER_MINUTE)
    aggregator = BarAggregator()
    published = run(aggregator, before)
    journal(tmp_path, [before[0], *published])

    restarted = BarAggregator()
    due = catch_up_from_journals(restarted, tmp_path, ["ATOM/USDT"])

    assert due == []
    assert run(restarted, [after, end]) == run(aggregator, [after, end])


def test_a_trade_at_the_exact_start_of_a_minute_is_counted_once_when_the_feed_repeats_it_after_a_restart(
    tmp_path: Path,
) -> None:
    first, second = [TradeEvent("ATOM/USDT", 10.0, 1.0, "buy", T0 + n * NS_PER_MINUTE, str(n), "v") for n in range(2)]
    aggregator = BarAggregator(["1m"])
    journal(tmp_path, [first, second, *run(aggregator, [first, second])])

    restarted = BarAggregator(["1m"])
    catch_up_from_journals(restarted, tmp_path, ["ATOM/USDT"])
    (bar,) = run(restarted, [second, ClockTick(T0 + 3 * NS_PER_MINUTE - 1)])

    assert (bar.ts_open, bar.trades, bar.volume) == (second.ts, 1, 1.0)


def with_ids(count: int) -> list[TradeEvent]:
    """A trade every ten seconds."""
    return [
        TradeEvent("ATOM/USDT", 10.0, 1.0, "buy", T0 + n * 10 * NS_PER_S, str(n), "v", T0 + n * 10 * NS_PER_S)
        for n in range(count)
    ]


@pytest.mark.parametrize("crash_after", range(1, 24))
def test_outages_and_gaps_mark_the_same_bars_after_a_restart_at_any_place(tmp_path: Path, crash_after: int) -> None:
    trades = with_ids(60)
    down = FeedStatus("ATOM/USDT", "v", "reconnecting", T0 + 121 * NS_PER_S)
    live = FeedStatus("ATOM/USDT", "v", "live", T0 + 185 * NS_PER_S)
    gap = FeedGap("ATOM/USDT", "v", 31, 32, trades[33].ts, "not to be had")
    missing = {*range(13, 19), 31, 32}
    flow: list[Contract] = [t for t in trades if int(t.trade_id) not in missing]
    flow.insert(13, down)
    flow.insert(14, live)
    flow.insert(flow.index(trades[33]), gap)
    expected = run(BarAggregator(["1m", "5m"]), flow)

    before = BarAggregator(["1m", "5m"])
    published = run(before, flow[:crash_after])
    journal(tmp_path, [*flow[:crash_after], *published])
    restarted = BarAggregator(["1m", "5m"])
    published += catch_up_from_journals(restarted, tmp_path, ["ATOM/USDT"]) + run(restarted, flow[crash_after:])

    assert published == expected
    assert [b.partial for b in expected if b.timeframe == "1m"] == [
        False, False, True, True, False, True, False, False, False
    ]  # fmt: skip


def test_without_published_bars_it_begins_with_the_windows_open_at_the_last_trade(tmp_path: Path) -> None:
    everything = trades(200)
    journal(tmp_path, everything)

    restarted = BarAggregator()
    due = catch_up_from_journals(restarted, tmp_path, ["ATOM/USDT", "BTC/USDT"])

    last_hour = everything[-1].ts - everything[-1].ts % (60 * NS_PER_MINUTE)
    assert due == run(BarAggregator(), [t for t in everything if t.ts >= last_hour])


def test_without_journals_there_is_nothing_to_catch_up(tmp_path: Path) -> None:
    assert catch_up_from_journals(BarAggregator(), tmp_path / "none", ["ATOM/USDT"]) == []
    assert catch_up_from_journals(BarAggregator(), tmp_path, ["ATOM/USDT"]) == []
