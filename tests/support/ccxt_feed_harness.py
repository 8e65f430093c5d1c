"""The real ccxt.pro client against the simulated venue on loopback, and what must hold of everything it brings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from random import Random
from typing import Any

from apps.md_ingest.ccxt_client import make_exchange
from apps.md_ingest.ccxt_feed import CcxtFeed
from apps.md_ingest.feed_state import FeedLimits
from apps.venue_sim.flow import SeededFlow
from apps.venue_sim.market import VenueMarket, VenueSymbol, VenueTrade
from apps.venue_sim.server import VenueServer
from core.clock import NS_PER_MS, SystemClock
from core.contracts import BookEvent, Contract, FeedGap, FeedStatus, TradeEvent
from core.instruments import Instrument, Instruments
from core.market.ingest import MarketDataIngest
from core.market.sequence import BackfillRequest
from core.retry import BackoffPolicy
from tests.support.waiting import until, within

SYMBOL = "BTC/USDT"
TRADES = "btcusdt@trade"
DEPTH = "btcusdt@depth@100ms"
PATIENCE_S = 20.0  # until a test that waits for something that never comes fails
GLANCE_S = 0.005  # between looks at what no event announces
FAST = BackoffPolicy(initial_s=0.02, cap_s=0.1, healthy_after_s=60.0)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait, with a limit, for what no event announces."""
    await until(condition, PATIENCE_S, glance_s=GLANCE_S)


class Venue:
    """A started venue with one symbol and a seeded flow that the test moves by hand."""

    def __init__(self, server: VenueServer, market: VenueMarket) -> None:
        self.server = server
        self.market = market
        self.flow = SeededFlow(market, seed=1)
        self.clock = SystemClock()

    def trade(self, count: int = 1, *, silently: bool = False) -> list[VenueTrade]:
        """Make trades and send them, and what they did to the book; ``silently`` they are only on the tape."""
        trades = []
        for _ in range(count):
            trades.append(self.flow.step(self.clock.now_ns() // NS_PER_MS))
            if not silently:
                self.server.publish_trade(self.market, trades[-1])
        if not silently:
            self.server.publish_depth(self.market)
        return trades

    def quote(self) -> None:
        """Move the book without a trade."""
        self.flow.quote()
        self.server.publish_depth(self.market)

    @property
    def last_id(self) -> int:
        return self.market.next_trade_id - 1


@asynccontextmanager
async def a_venue(*, key_required: bool = True, symbol: str = SYMBOL) -> AsyncIterator[Venue]:
    market = VenueMarket(VenueSymbol(symbol))
    server = VenueServer([market], clock=SystemClock(), key_required=key_required)
    venue = Venue(server, market)
    await server.start()
    try:
        yield venue
    finally:
        await server.stop()


class Run:
    """A feed, the ingest behind it, and everything that came out of either."""

    def __init__(self, venue: Venue, feed: CcxtFeed) -> None:
        self.venue = venue
        self.feed = feed
        self.ingest = MarketDataIngest(_instruments(feed.symbols))
        self.raw: list[Contract] = []
        self.out: list[Contract] = []
        self.failure: Exception | None = None
        self._changed = asyncio.Event()
        self.reading = asyncio.Event()
        self.reading.set()

    async def pump(self) -> None:
        """Do what the daemon does: raw events into the ingest, its requests back to the feed."""
        try:
            async for event in self.feed.stream():
                await self.reading.wait()
                self.raw.append(event)
                for answer in self.ingest.on_event(event):
                    self.out.append(answer)
                    if isinstance(answer, BackfillRequest):
                        self.feed.backfill(answer)
                self._changed.set()
        except Exception as error:  # noqa: BLE001  # handed to the test, whatever it is
            self.failure = error
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds; raises what the feed failed with."""
        async with within(PATIENCE_S):
            while not condition():
                if self.failure is not None:
                    raise self.failure
                await self.changed()

    async def changed(self) -> None:
        """Wait until something comes, or for what no event announces, a moment."""
        self._changed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), GLANCE_S)

    async def moving(self, condition: Callable[[], bool]) -> None:
        """As ``until``, while the market quotes."""
        async with within(PATIENCE_S):
            while not condition():
                self.venue.quote()
                await self.changed()

    async def blocked(self) -> None:
        """The feed's queue is full, and its trade task waits for room."""
        await self.until(lambda: self.feed.waits > 0)

    async def cached(self, trade_id: int) -> None:
        """ccxt has received this trade."""
        trades = self.feed.exchange.trades
        await self.until(lambda: any(t["id"] == str(trade_id) for t in trades.get(SYMBOL, ())))

    @property
    def books(self) -> list[BookEvent]:
        return [e for e in self.raw if isinstance(e, BookEvent)]

    @property
    def trades(self) -> list[TradeEvent]:
        return [e for e in self.out if isinstance(e, TradeEvent)]

    @property
    def gaps(self) -> list[FeedGap]:
        return [e for e in self.out if isinstance(e, FeedGap)]

    @property
    def states(self) -> list[str]:
        return [e.state for e in self.out if isinstance(e, FeedStatus)]

    @property
    def covered_to(self) -> int:
        return max((i for i in _covered(self.out)), default=0)

    async def live(self) -> None:
        """Both streams are on and the first trade has come."""
        await self.until(lambda: self.venue.server.streams.subscribers(TRADES) > 0)
        self.venue.trade()
        await self.until(lambda: bool(self.trades) and "live" in self.states)

    async def caught_up(self) -> None:
        """Everything on the venue's tape has come out, as a trade or inside a gap."""
        await self.until(lambda: self.covered_to >= self.venue.last_id)

    def assert_no_hole(self) -> None:
        """Ids left exactly once and in order, and each trade is the venue's own."""
        ids = list(_covered(self.out))
        assert ids == list(range(ids[0], ids[-1] + 1))
        tape = {t.id: t for t in self.venue.market.tape}
        for trade in self.trades:
            theirs = tape[int(trade.trade_id)]
            expected = (float(theirs.price), float(theirs.qty), "sell" if theirs.buyer_is_maker else "buy")
            assert (trade.price, trade.qty, trade.side, trade.ts) == (*expected, theirs.ts_ms * NS_PER_MS)


@asynccontextmanager
async def a_feed(
    venue: Venue,
    *,
    symbols: Iterable[str] = (SYMBOL,),
    api_key: str = "a-key",
    staleness_limit_s: float = 5.0,
    limits: FeedLimits | None = None,
    resume_from: dict[str, int] | None = None,
    **client: Any,
) -> AsyncIterator[Run]:
    exchange = make_exchange(
        "binanceus",
        urls=venue.server.client_urls(),
        api_key=api_key,
        min_request_interval_ms=1,
        **client,
    )
    exchange.timeout_on_exit = 0  # type: ignore[attr-defined]  # ccxt's quarter of a second for TLS
    feed = CcxtFeed(
        exchange,
        tuple(symbols),
        venue="binanceus",
        clock=SystemClock(),
        random=Random(7).random,
        staleness_limit_s=staleness_limit_s,
        backoff=FAST,
        limits=limits,
        resume_from=resume_from,
    )
    run = Run(venue, feed)
    pump = asyncio.create_task(run.pump())
    try:
        yield run
    finally:
        await feed.aclose()
        run.reading.set()
        await pump


def _covered(events: Iterable[Contract]) -> Iterable[int]:
    for event in events:
        if isinstance(event, TradeEvent):
            yield int(event.trade_id)
        elif isinstance(event, FeedGap):
            yield from range(event.first_id, event.last_id + 1)


def _instruments(symbols: Iterable[str]) -> Instruments:
    return Instruments([Instrument(s, Decimal("0.01"), Decimal("0.00001")) for s in symbols])
