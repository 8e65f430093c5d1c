"""A replay that was cut off goes on behind what it journaled, by a real kill too: nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from apps.md_ingest.replay import pace
from apps.md_ingest.resume import JournaledPart, MarketEvent, journaled_tails, last_journaled, trade_ids
from apps.md_ingest.source import open_offline
from core import codec
from core.clock import NS_PER_S
from core.config import load_config
from core.contracts import BookEvent, ClockTick, Contract, FeedStatus, TickerEvent, TradeEvent
from core.market.ingest import MarketDataIngest
from core.market.sequence import MAX_HOLE, JournaledTail
from core.service.host import ComponentHost, JournalSet
from tests.support import captures
from tests.support.fleet_config import busy_installation, config_in
from tests.support.invariants import assert_hold, journal, waiting
from tests.support.processes import DAEMONS, Processes
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

T0 = 1_723_161_255 * NS_PER_S
BTC = "BTC/USDT"


def trade(number: int | str, second: float = 0.0, symbol: str = BTC) -> TradeEvent:
    return TradeEvent(symbol, 100.0, 1.0, "buy", T0 + int(second * NS_PER_S), str(number), "v", T0)


def book(last_id: int, second: float = 0.0, bid: float = 99.0) -> BookEvent:
    return BookEvent(BTC, ((bid, 1.0),), ((100.0, 1.0),), 0, T0 + int(second * NS_PER_S), last_id, "v", T0)


def ticker(second: float, receipt: int = 1) -> TickerEvent:
    return TickerEvent(BTC, 0.0, 99.0, 100.0, 0.0, T0 + int(second * NS_PER_S), "v", receipt)


def left_of(events: Sequence[Contract], *last: MarketEvent) -> list[Contract]:
    part = JournaledPart({(each.symbol, type(each)): each for each in last})
    left = [event for event in events if not part.has(event)]
    assert part.count == len(events) - len(left)
    return left


def test_trades_and_books_up_to_the_last_journaled_ids_are_left_out_each_by_its_own() -> None:
    events = [trade(1), book(10), trade(3, 2), trade(2, 1), book(11), trade(4), book(12)]

    assert left_of(events, trade(2), book(11)) == [trade(3, 2), trade(4), book(12)]


def test_what_was_never_journaled_passes_whole() -> None:
    other = trade(1, symbol="ETH/USDT")

    assert left_of([trade(1), book(10), other, ticker(0)], trade(9)) == [book(10), other, ticker(0)]


def test_tickers_have_no_ids_their_time_decides_and_at_the_same_time_the_last_one_itself() -> None:
    events = [ticker(1, 1), ticker(2, 2), ticker(2, 3), ticker(2, 4), ticker(3, 5)]

    assert left_of(events, ticker(2, 3)) == [ticker(2, 4), ticker(3, 5)]


def test_books_without_ids_and_trades_whose_ids_are_names_go_by_time_too() -> None:
    events: list[Contract] = [trade("a", 1), book(0, 1), trade("b", 2), book(0, 2, 98.0), book(0, 2, 97.0)]

    assert left_of(events, trade("a", 1), book(0, 2, 98.0)) == [trade("b", 2), book(0, 2, 97.0)]


def test_a_book_that_broke_in_the_part_that_is_journaled_stays_left_out() -> None:
    stale = FeedStatus(BTC, "v", "stale", T0, "a break", "book")

    assert left_of([book(5), stale, book(8), book(9)], book(8)) == [stale, book(9)]


def test_where_ids_do_not_count_trades_of_the_journaled_tail_are_left_out_whatever_their_ids() -> None:
    tail = JournaledTail(T0 + 1 * NS_PER_S, T0 + 2 * NS_PER_S, frozenset({"90", "4"}))
    part = JournaledPart({(BTC, TradeEvent): trade(4, 2)}, {BTC: tail}, contiguous=False)

    events = [trade(1, 0), trade(90, 1), trade(3, 2), trade(4, 2), trade(2, 3)]

    assert [event.trade_id for event in events if not part.has(event)] == ["3", "2"]


@pytest.mark.parametrize("ids", [["c", "a", "b"], ["900", "20", "100"]])
def test_where_ids_do_not_count_a_second_start_accepts_no_journaled_trade_again(tmp_path: Path, ids: list[str]) -> None:
    recording = tmp_path / "md.trades.BTCUSDT.ndjson"
    trades = [trade(name, second) for name, second in zip(ids, (0, 1, 1), strict=True)]
    recording.write_bytes(b"".join(codec.encode(event) + b"\n" for event in trades))
    config = config_in(tmp_path / "run")
    config = config.model_copy(update={"exchange": config.exchange.model_copy(update={"contiguous_ids": False})})
    journals = JournalSet(config.log_dir)
    host = ComponentHost(open_offline(str(recording), config).ingest, journals)
    for event in trades:
        host.handle_local(event)
    host.commit()

    source = open_offline(str(recording), config, journaled=last_journaled(journals, [BTC]))
    again = asyncio.run(answers(source.feed, source.ingest.on_event))
    live = MarketDataIngest(
        config.instruments_table(), [BTC], contiguous=False,
        tails=journaled_tails(config.log_dir, last_journaled(journals, [BTC])),
    )  # fmt: skip

    assert [event for event in again if isinstance(event, TradeEvent)] == []
    assert [event for raw in trades for event in live.on_event(raw) if isinstance(event, TradeEvent)] == []
    assert live.counters()["duplicates"] == 3


async def test_what_is_left_out_takes_no_time_and_the_pace_begins_behind_it() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    class Still:
        def now_ns(self) -> int:
            return T0

    part = JournaledPart({(BTC, TradeEvent): trade(3)})
    events = [TradeEvent(BTC, 1.0, 1.0, "buy", T0 + n * NS_PER_S, str(n), "v", T0 + n * NS_PER_S) for n in range(1, 6)]
    got = [event async for event in pace(events, 1.0, clock=Still(), sleep=sleep, journaled=part)]

    assert got == events[3:]
    assert slept == [1.0]


async def test_a_long_part_that_is_left_out_does_not_keep_the_daemon_from_answering() -> None:
    turns: list[float] = []

    async def sleep(seconds: float) -> None:
        turns.append(seconds)

    part = JournaledPart({(BTC, TradeEvent): trade(10_000)})
    assert [e async for e in pace([trade(n) for n in range(1_024)], 1.0, sleep=sleep, journaled=part)] == []
    assert len(turns) == 4


def test_resuming_far_behind_the_start_of_a_recording_is_no_venue_that_counts_anew(tmp_path: Path) -> None:
    recording = tmp_path / "md.trades.BTCUSDT.ndjson"
    numbers = [1, 2, 3, 3 + MAX_HOLE + 1, 3 + MAX_HOLE + 2]
    recording.write_bytes(b"".join(codec.encode(trade(number)) + b"\n" for number in numbers))
    config = config_in(tmp_path / "run")

    source = open_offline(str(recording), config, journaled={(BTC, TradeEvent): trade(numbers[-2])})
    out = asyncio.run(answers(source.feed, source.ingest.on_event))

    assert [event.trade_id for event in out if isinstance(event, TradeEvent)] == [str(numbers[-1])]
    assert [event.state for event in out if isinstance(event, FeedStatus)] == ["ended"]
    assert [event.ts for event in out if isinstance(event, ClockTick)] == [T0]


def test_a_recording_of_a_venue_whose_ids_have_holes_has_no_gaps(tmp_path: Path) -> None:
    recording = tmp_path / "md.trades.BTCUSDT.ndjson"
    recording.write_bytes(b"".join(codec.encode(trade(number)) + b"\n" for number in (1, 20, 300)))
    config = load_config(environ={"NJORD_EXCHANGE__CONTIGUOUS_IDS": "false"})

    source = open_offline(str(recording), config)
    out = asyncio.run(answers(source.feed, source.ingest.on_event))

    assert [type(event).__name__ for event in out] == ["ClockTick", *["TradeEvent"] * 3, "FeedStatus"]


async def answers(feed: object, on_event: object) -> list[Contract]:
    return [out async for event in feed.stream() for out in on_event(event)]  # type: ignore[attr-defined, operator]


def test_the_journals_say_where_an_earlier_run_stopped(tmp_path: Path) -> None:
    journals = JournalSet(tmp_path)
    last: list[Contract] = [trade(7), book(70), ticker(1)]
    for stream, event in zip(("md.trades.BTCUSDT", "md.book.BTCUSDT", "md.ticker.BTCUSDT"), last, strict=True):
        journals.append(stream, codec.encode(event), T0)
    journals.append("md.trades.ETHUSDT", b'{"something":"else"}', T0)
    journals.close()

    found = last_journaled(JournalSet(tmp_path), [BTC, "ETH/USDT", "ATOM/USDT"])

    assert list(found.values()) == last
    assert trade_ids(found) == {BTC: 7}
    assert not list(tmp_path.glob("*ATOM*"))


@pytest.mark.parametrize("cut", [1, 7, 500, 2_111, 100_000])
def test_a_replay_in_two_runs_journals_what_one_run_does(cut: int, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    replay(whole)
    replay(parts, cut)
    replay(parts)

    names = sorted(path.name for path in whole.glob("md.[tb]*"))
    assert len(names) > 2
    for name in names:
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name


def replay(folder: Path, cut: int = 10**9) -> None:
    """One run of the daemon's component over a synthetic market, ended after ``cut`` raw events."""
    journals = JournalSet(folder)
    config = config_in(folder)
    known = last_journaled(journals, list(config.instruments))
    source = open_offline("synthetic:5:2", config, journaled=known)
    host = ComponentHost(source.ingest, journals)

    async def run() -> None:
        count = 0
        async for event in source.feed.stream():
            host.handle_local(event)
            count += 1
            if count == cut:
                break

    asyncio.run(run())
    host.commit()
    host.close()


@pytest.mark.full
@pytest.mark.parametrize("ending", ["killed", "stopped"])
def test_a_feed_daemon_that_ends_in_the_middle_and_starts_again_journals_all_of_it_once(
    ending: str, recorded_data: Path, tmp_path: Path
) -> None:
    short = captures.shortened(captures.recorded(recorded_data), tmp_path / "captures", 40)
    feed = captures.feed_of(short)
    options = ("--feed", feed, "--speed", "8x", "--channels", "trades,book,ticker")

    with (
        RedisServer() as server,
        Processes(server.url, tmp_path / "run", busy_installation(tmp_path / "root")) as fleet,
    ):
        fleet.start_ready(*DAEMONS)
        for enough in (150, 400):
            fleet.start("md_ingest", *options)
            wait_until(lambda: lines(fleet, "md.trades.BTCUSDT") > enough, what="it journals")  # noqa: B023 — called at once
            if ending == "killed":
                fleet.kill("md_ingest")
            else:
                fleet.running["md_ingest"].terminate()
                assert fleet.exit_code("md_ingest") == 0
        fleet.start("md_ingest", *options)
        assert fleet.exit_code("md_ingest") == 0, fleet.stderr("md_ingest")
        wait_until(lambda: not waiting(fleet.folder), what="the fleet comes to rest")
        assert set(fleet.stop().values()) == {0}
        assert_hold(fleet.folder)
        again = Processes(server.url, tmp_path / "at_once", tmp_path / "root")
        with again:
            again.start("md_ingest", *options[:2], *options[4:])
            assert again.exit_code("md_ingest") == 0, again.stderr("md_ingest")

    assert "goes on behind" in fleet.stderr("md_ingest")
    for path in again.journals.glob("md.[tb]*.ndjson"):
        assert (fleet.journals / path.name).read_bytes() == path.read_bytes(), path.name
    for symbol, path in short.items():
        _check_bars(fleet.journals, symbol, path)


def lines(fleet: Processes, stream: str) -> int:
    path = fleet.journals / f"{stream}.ndjson"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def _check_bars(journals: Path, symbol: str, capture: Path) -> None:
    """Closed bars hold no trade twice."""
    name = symbol.replace("/", "")
    trades = captures.trades_of(capture)
    for bar in journal(journals, f"ohlcv.1m.{name}"):
        inside = [each for each in trades if bar["ts_open"] <= each.ts_ns < bar["ts_close"]]
        assert bar["trades"] <= len(inside)
