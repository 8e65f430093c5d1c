"""The live path as it is typed: the programs as processes, ccxt's real client, a venue on loopback that misbehaves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from apps.venue_sim.main import dotted
from core import codec
from core.clock import NS_PER_MS
from core.contracts import Contract, FeedGap, TradeEvent
from tests.support.ccxt_feed_harness import TRADES, Venue, a_venue
from tests.support.typed_commands import Running, TypedCommands
from tests.support.waiting import interval, until

FLEET: Final = ".venv/bin/python -m apps.fleet --venue binanceus --symbol BTC/USDT --plain"
DAEMON: Final = ".venv/bin/python -m apps.md_ingest --symbol BTC/USDT --venue binanceus"
ON_SPARE_PORT: Final = ("--port", "0")
FIRST_ID: Final = 1_000
BETWEEN_TRADES_S: Final = 0.01
OUTAGE_S: Final = 0.2


class LivePath:
    """A venue that trades as long as it is let, one of our programs behind it, and what that one journals."""

    def __init__(self, typed: TypedCommands, venue: Venue) -> None:
        self.typed = typed
        self.venue = venue
        self.trading = asyncio.Event()
        typed.environ |= {
            "NJORD_EXCHANGE__URLS": msgspec.json.encode(dotted(venue.server.client_urls())).decode(),
            "NJORD_EXCHANGE__STALENESS_LIMIT_S": "2",
            "NJORD_EXCHANGE__BACKOFF_BASE_S": "0.05",
            "NJORD_EXCHANGE__BACKOFF_MAX_S": "0.2",
        }

    async def trade(self) -> None:
        """Trades while ``trading`` is set, quotes all the time."""
        while True:
            if self.trading.is_set():
                self.venue.trade()
            else:
                self.venue.quote()
            await interval(BETWEEN_TRADES_S)

    async def subscribed(self, program: Running) -> None:
        """The program listens; only now the market opens, so that no trade is before its time."""
        await self.until(lambda: self.venue.server.streams.subscribers(TRADES) > 0, program)
        self.trading.set()

    async def deserted(self) -> None:
        """Nobody trades any more, and the venue has seen that nobody listens: how long a start takes does not count."""
        self.trading.clear()
        await until(lambda: not self.venue.server.streams.subscribers(TRADES), what="nobody listens")

    async def trades(self, count: int, program: Running) -> None:
        """So many more trades are journaled."""
        goal = self.journaled + count
        await self.until(lambda: self.journaled >= goal, program)

    async def whole(self, program: Running) -> None:
        """Nobody trades any more, the last trade is journaled and the feed is live."""
        self.trading.clear()
        last = f'"trade_id":"{self.venue.last_id}"'.encode()
        await self.until(lambda: last in self.last_line("trades"), program)
        await self.until(lambda: b'"state":"live"' in self.last_line("status"), program)

    async def until(self, condition: Callable[[], object], program: Running) -> None:
        """Wait until it holds, while the program runs."""

        def reached() -> bool:
            assert program.running or condition(), program.output
            return bool(condition())

        await until(reached, what=program.output[-500:])

    @property
    def journaled(self) -> int:
        """Lines of the trades journal."""
        return sum(path.read_bytes().count(b"\n") for path in self.files("trades"))

    def files(self, kind: str) -> list[Path]:
        """The journals of a kind, of the one run or daemon that there is."""
        return sorted(self.typed.folder.glob(f"var/**/md.{kind}.BTCUSDT.ndjson"))

    def last_line(self, kind: str) -> bytes:
        """The end of the journals of a kind; empty without any."""
        return b"".join(path.read_bytes().splitlines()[-1] for path in self.files(kind) if path.stat().st_size)

    def journal(self, kind: str, contract: type[Contract]) -> Iterator[Contract]:
        """What a journal holds."""
        for path in self.files(kind):
            for line in path.read_bytes().splitlines():
                yield codec.decode(contract, line)

    def assert_every_trade_is_there(self) -> list[FeedGap]:
        """Each id of the venue is journaled once and in order, or in a gap; the trades are the venue's own."""
        tape = {trade.id: trade for trade in self.venue.market.tape}
        trades = [event for event in self.journal("trades", TradeEvent) if isinstance(event, TradeEvent)]
        for trade in trades:
            theirs = tape[int(trade.trade_id)]
            side = "sell" if theirs.buyer_is_maker else "buy"
            expected = (float(theirs.price), float(theirs.qty), side, theirs.ts_ms * NS_PER_MS)
            assert (trade.price, trade.qty, trade.side, trade.ts) == expected
        gaps = [event for event in self.journal("gaps", FeedGap) if isinstance(event, FeedGap)]
        ids = [int(trade.trade_id) for trade in trades]
        missing = [number for gap in gaps for number in range(gap.first_id, gap.last_id + 1)]
        assert ids == sorted(ids)
        assert sorted(ids + missing) == list(range(FIRST_ID, self.venue.last_id + 1))
        return gaps


@asynccontextmanager
async def live_path(typed: TypedCommands) -> AsyncIterator[LivePath]:
    async with a_venue(key_required=False) as venue:
        path = LivePath(typed, venue)
        trading = asyncio.create_task(path.trade())
        try:
            yield path
        finally:
            trading.cancel()


@pytest.fixture
def typed(tmp_path: Path, redis_url: str) -> TypedCommands:
    return TypedCommands(tmp_path / "njord", redis_url)


def assert_no_noise(said: str) -> None:
    assert "Traceback" not in said
    assert "release all resources" not in said


@pytest.mark.full
@pytest.mark.parametrize("command", [FLEET, f"{DAEMON} --port 0"])
async def test_cut_stalled_and_lossy_streams_leave_every_trade_once_and_in_order(
    typed: TypedCommands, command: str
) -> None:
    async with live_path(typed) as path:
        server = path.venue.server
        with typed.start(command) as program:
            await path.subscribed(program)
            await path.trades(50, program)
            server.cut()
            await path.trades(50, program)
            server.stream_faults.stall()
            before = server.streams.connections
            await path.until(lambda: server.streams.connections > before, program)
            server.stream_faults.clear()
            await path.trades(50, program)
            server.stream_faults.drop = 0.2
            await path.trades(100, program)
            server.stream_faults.clear()
            await server.down()
            await interval(OUTAGE_S)
            await server.up()
            await path.whole(program)
            status = await asyncio.to_thread(program.end, signal.SIGINT)
        assert path.assert_every_trade_is_there() == []
        assert status == 0, program.output
        assert_no_noise(program.output)


@pytest.mark.full
async def test_a_fleet_says_on_the_terminal_how_its_feed_fared(typed: TypedCommands) -> None:
    async with live_path(typed) as path:
        with typed.start(FLEET) as program:
            await path.subscribed(program)
            await path.trades(10, program)
            path.venue.server.cut()
            await path.trades(10, program)
            await path.whole(program)
            status = await asyncio.to_thread(program.end, signal.SIGINT)
        said = " ".join(program.output.split())
        assert status == 0
        for words in ("connecting; Ctrl-C ends", "BTC/USDT live", "BTC/USDT reconnecting: ", "1 interruption, "):
            assert words in said


@pytest.mark.full
async def test_what_the_venue_no_longer_has_is_a_gap_and_the_fleet_fails_for_it(typed: TypedCommands) -> None:
    async with live_path(typed) as path:
        with typed.start(FLEET) as program:
            await path.subscribed(program)
            await path.trades(10, program)
            await path.whole(program)
            path.venue.server.rest_faults.history = 20
            path.venue.trade(100, silently=True)
            path.trading.set()
            await path.trades(30, program)
            await path.whole(program)
            status = await asyncio.to_thread(program.end, signal.SIGINT)
        (gap,) = path.assert_every_trade_is_there()
        assert 1 <= gap.missing <= 100
        assert "FAIL gaps 1 gap" in " ".join(program.output.split())
        assert status == 3


@pytest.mark.full
async def test_a_fleet_that_is_stopped_while_its_venue_is_away_says_so(typed: TypedCommands) -> None:
    async with live_path(typed) as path:
        with typed.start(FLEET) as program:
            await path.subscribed(program)
            await path.trades(10, program)
            await path.whole(program)
            await path.venue.server.down()
            await path.until(lambda: "reconnecting" in program.output, program)
            status = await asyncio.to_thread(program.end, signal.SIGINT)
        said = " ".join(program.output.split())
        assert "FAIL feed BTC/USDT reconnecting: " in said
        assert "no trade after " in said
        assert status == 3
        assert_no_noise(said)


@pytest.mark.full
async def test_a_killed_daemon_goes_on_behind_the_last_journaled_trade(typed: TypedCommands) -> None:
    async with live_path(typed) as path:
        with typed.start(DAEMON, *ON_SPARE_PORT) as first:
            await path.subscribed(first)
            await path.trades(50, first)
            await asyncio.to_thread(first.end, signal.SIGKILL)
        await path.deserted()
        path.venue.trade(300)
        with typed.start(DAEMON, *ON_SPARE_PORT) as second:
            await path.subscribed(second)
            await path.trades(350, second)
            await path.whole(second)
            assert await asyncio.to_thread(second.end, signal.SIGTERM) == 0
        assert path.assert_every_trade_is_there() == []
        assert_no_noise(first.output + second.output)
