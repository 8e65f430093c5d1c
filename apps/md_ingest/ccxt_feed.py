"""The live feed: ccxt.pro's trades and books of some symbols, kept alive, with no hole after a reconnect.

ccxt neither back-fills nor says that it reconnected. The feed therefore watches the sockets themselves: the first
frame on a new socket means that the stream is on, and whatever was traded meanwhile is fetched over REST.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final
from weakref import WeakKeyDictionary

from apps.md_ingest.ccxt_bbo import BestPrices
from apps.md_ingest.ccxt_client import (
    ChecksumError,
    ExchangeClient,
    RequestTimeout,
    VenueErrors,
    check_symbols,
    explained,
    is_cancelled,
    is_permanent,
    retry_after_s,
    shown,
)
from apps.md_ingest.ccxt_events import Unreadable, book_event
from apps.md_ingest.ccxt_recovery import Recovery
from apps.md_ingest.ccxt_trades import TradeHistory
from apps.md_ingest.feed_queue import FeedQueue
from apps.md_ingest.feed_state import CHANNELS, Channel, ChannelKind, FeedCounters, FeedLimits, Lane, new_lane
from core.clock import NS_PER_S, Clock
from core.contracts import ClockTick, Contract, FeedState, FeedStatus, TradeEvent
from core.market.sequence import BackfillRequest, numeric_id
from core.retry import Backoff, BackoffPolicy

BEHIND_LIMIT: Final = 2  # quiet checks in a row that find trades which the stream did not bring
CLOSE_TIMEOUT_S: Final = 5.0  # for the venue to answer the closing of a socket
_CHECKS_PER_LIMIT: Final = 5  # how often silence is looked at within the staleness limit
_log: Final = logging.getLogger("njord.md_ingest.ccxt")


class CcxtFeed:
    """Raw market data of a venue through ccxt.pro; satisfies ``apps.md_ingest.feeds.Feed``.

    Guarantees, per symbol: every trade of the venue after the first one seen comes out of ``stream`` at least
    once, or is asked for by whoever sees the hole in the ids. Trades may repeat and come out of order. Books
    are the latest of their symbol; while missed trades are being fetched none is given, so that a book's time
    never runs ahead of them. The first connection starts at the first live trade, without history, unless
    ``resume_from`` names the last id of an earlier run.

    Best bids and offers come where the venue has a stream of them; what becomes of it changes no symbol's state.

    A symbol is stale when neither trades nor book moved for ``staleness_limit_s``: a quiet market still
    quotes. A symbol without a trade for ``limits.quiet_check_s`` is checked over REST; a trade stream that is
    silent while the venue trades is found that way, though the book moves. A book that stands still while
    trades come is dialled anew as well.

    Args:
        exchange: from ``make_exchange``; the feed owns it and closes it.
        symbols: ``BASE/QUOTE`` names.
        venue: written into the events.
        clock: stamps receipts.
        staleness_limit_s: silence after which the sockets are dropped and dialled again.
        backoff: between reconnects and REST tries; endless, its cap is the longest pause.
        random: the jitter's source, a number in ``[0, 1)``.
    """

    def __init__(
        self,
        exchange: ExchangeClient,
        symbols: Sequence[str],
        *,
        venue: str,
        clock: Clock,
        random: Callable[[], float],
        staleness_limit_s: float = 15.0,
        backoff: BackoffPolicy | None = None,
        limits: FeedLimits | None = None,
        resume_from: Mapping[str, int] | None = None,
    ) -> None:
        policy = backoff or BackoffPolicy()
        last_ids = resume_from or {}
        self.name = venue
        self.symbols = tuple(dict.fromkeys(symbols))
        self.counts = FeedCounters()
        self.history = TradeHistory(exchange, venue=venue, clock=clock, backoff=policy, random=random)
        self.exchange = exchange
        self._clock = clock
        self._staleness_limit_s = staleness_limit_s
        self._limits = limits or FeedLimits()
        self._opening = Backoff(policy, random)
        self._lanes = {s: new_lane(s, lambda: Backoff(policy, random), last_ids.get(s)) for s in self.symbols}
        self._queue = FeedQueue(self._limits.queue)
        self._recovery = Recovery(
            self.history,
            self._queue,
            clock=clock,
            counts=self.counts,
            spawn=self._spawn,
            hand_on=self._hand_on,
            caught_up=self._settle,
            max_pending=self._limits.pending_backfills,
        )
        self._best_prices = BestPrices(
            exchange, self._queue, venue=venue, clock=clock, counts=self.counts, market_ts=lambda: self._market_ts
        )
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._sockets: WeakKeyDictionary[Any, tuple[int, list[Channel]]] = WeakKeyDictionary()
        self._market_ts = 0
        self._market_ts_at = 0.0
        self._started = False
        self._closed = False

    @property
    def waits(self) -> int:
        """How often trades had to wait because the reader was too slow."""
        return self._queue.waits

    def counters(self) -> Mapping[str, int]:
        """What the feed went through since the start, by name; see ``FeedCounters`` and ``RestCounters``."""
        rest = self.history.counts
        return {
            **asdict(self.counts),
            "shed": self._queue.shed,
            "queue_waits": self._queue.waits,
            "rest_pages": rest.pages,
            "rest_failures": rest.failures,
            "unreadable_trades": rest.unreadable,
        }

    async def stream(self) -> AsyncGenerator[Contract, None]:
        """Raw ``TradeEvent``, ``BookEvent``, ``BboEvent``, ``FeedStatus``, ``BackfillDone`` and, while nothing happens
        on a healthy feed, ``ClockTick`` in the venue's time. Connects on first use; ends after ``aclose``.

        Raises:
            ConfigError: an unknown symbol, a refused key, something the venue does not have.
        """
        self._start()
        while batch := await self._queue.take():
            for event in batch:
                yield event

    def backfill(self, request: BackfillRequest) -> None:
        """Fetch missing trades in the background: they come out of ``stream``, then one ``BackfillDone``."""
        if self._closed:
            self._recovery.give_up(request, "the feed is closed")
        else:
            self._recovery.backfill(self._lanes[request.symbol], request)

    async def aclose(self) -> None:
        """Stop the tasks, close the sockets, tell the reader that every symbol has ended. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for lane in self._lanes.values():
            for request in lane.requests:
                self._recovery.give_up(request, "the feed was closed")
            self._tell(lane, "ended", "the feed was closed")
        self._queue.close()
        try:
            await asyncio.wait_for(self.exchange.close(), CLOSE_TIMEOUT_S)
        except TimeoutError:
            _log.warning("%s: not closed within %g s; its sockets end with the process", self.name, CLOSE_TIMEOUT_S)

    # --- tasks

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        self.exchange.frame_listener = self._on_frame
        self._spawn(self._open(), "open")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task whose failure ends the feed."""
        task = asyncio.create_task(work, name=f"feed {name}")
        self._tasks[task] = None
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._queue.fail(error)

    async def _open(self) -> None:
        """Load the venue's symbols, for as long as it takes, then start the streams."""
        for lane in self._lanes.values():
            self._queue.put_now(self._status(lane))
        while True:
            try:
                await check_symbols(self.exchange, self.symbols)
                break
            except VenueErrors as error:
                if is_permanent(error):
                    raise explained(error, self.name, ", ".join(self.symbols), "the list of symbols") from error
                self.counts.failures += 1
                for lane in self._lanes.values():
                    self._tell(lane, "reconnecting", shown(error))
                await asyncio.sleep(max(self._opening.failed(), retry_after_s(self.exchange, error)))
        for lane in self._lanes.values():
            lane.heard_at = lane.traded_at = lane.checked_at = self._now()
            self._spawn(self._watch(lane, lane.trades, self._next_trades), f"trades {lane.symbol}")
            self._spawn(self._watch(lane, lane.book, self._next_book), f"book {lane.symbol}")
            if self.exchange.has.get("watchBidsAsks"):
                self._spawn(self._best_prices.watch(lane), f"best prices {lane.symbol}")
            self._spawn(self._mind(lane), f"watchdog {lane.symbol}")
        self._spawn(self._tick(), "clock")

    async def _watch(self, lane: Lane, channel: Channel, step: Callable[[Lane], Coroutine[Any, Any, None]]) -> None:
        """One stream for ever: data, or an error and a pause. ccxt dials and subscribes on every call that needs it."""
        checksum_errors = 0
        while True:
            try:
                await step(lane)
                checksum_errors = 0
                continue
            except ChecksumError as error:
                self.counts.checksum_errors += 1
                checksum_errors += 1
                if checksum_errors <= self._limits.checksum_errors:
                    continue  # the next call takes a new snapshot
                failure: Exception = error
            except VenueErrors as error:
                if is_permanent(error):
                    raise explained(error, self.name, lane.symbol, f"the {channel.kind} stream") from error
                failure = error
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                failure = RequestTimeout("ccxt gave up the socket")
            await self._lost(lane, channel, failure)

    async def _lost(self, lane: Lane, channel: Channel, error: Exception) -> None:
        up_for = self._now() - channel.up_since if channel.up else 0.0
        channel.up = False
        self.counts.failures += 1
        self._tell(lane, "reconnecting", f"{channel.kind}: {shown(error)}")
        lane.heard_at = self._now()
        delay = max(channel.backoff.failed(up_for), retry_after_s(self.exchange, error))
        _log.warning("%s %s %s: %s; again in %.2f s", self.name, lane.symbol, channel.kind, shown(error), delay)
        await asyncio.sleep(delay)
        lane.heard_at = self._now()

    async def _next_trades(self, lane: Lane) -> None:
        trades = await self.exchange.watch_trades(lane.symbol)
        lane.traded_at = self._now()
        lane.behind = 0
        if lane.unbooked_since is None:
            lane.unbooked_since = lane.traded_at
        self._on_data(lane, lane.trades)
        if await self._hand_on(lane, self.history.events(lane.symbol, trades)):
            await self._hand_on_cached(lane)

    async def _hand_on(self, lane: Lane, trades: Sequence[TradeEvent]) -> bool:
        """Queue trades; returns whether the queue was full and others may have come in the meantime."""
        for trade in trades:
            number = numeric_id(trade.trade_id)
            if number is not None and (lane.last_id is None or number > lane.last_id):
                lane.last_id = number
            self._note_time(trade.ts)
        lane.blocked += 1
        waited = await self._queue.put(trades)
        lane.blocked -= 1
        lane.heard_at = self._now()
        return waited

    async def _hand_on_cached(self, lane: Lane) -> None:
        """ccxt would give what it cached while we waited only with the next trade, which may be long in coming."""
        while True:
            last = lane.last_id or 0
            cached = [t for t in self.exchange.trades.get(lane.symbol, ()) if (numeric_id(str(t["id"])) or 0) > last]
            if not cached or not await self._hand_on(lane, self.history.events(lane.symbol, cached)):
                return

    async def _next_book(self, lane: Lane) -> None:
        book = await self.exchange.watch_order_book(lane.symbol)
        lane.book.messages += 1
        lane.unbooked_since = None
        if lane.book.messages > 1:  # the first one on a socket is made of a snapshot: no proof that the stream moves
            self._on_data(lane, lane.book)
        if lane.would_overtake:
            return
        try:
            event = book_event(book, lane.symbol, self.name, self._clock.now_ns(), self._market_ts)
        except Unreadable as error:
            self.counts.unreadable_books += 1
            _log.warning("%s %s: unreadable book: %s", self.name, lane.symbol, error)
            return
        self._note_time(event.ts)
        self._queue.put_latest(event)

    # --- sockets

    def _on_frame(self, socket: Any) -> None:
        """ccxt channels something. The first frame after a subscription means that the stream is on."""
        socket_state = self._sockets.get(socket)
        if socket_state is not None and socket_state[0] == len(socket.subscriptions):
            return
        channels = socket_state[1] if socket_state is not None else []
        for lane in self._lanes.values():
            for channel in lane.channels:
                if channel not in channels and any(channel.is_named_by(s) for s in socket.subscriptions):
                    channels.append(channel)
                    self._on_new_socket(lane, channel)
        self._sockets[socket] = (len(socket.subscriptions), channels)

    def _on_new_socket(self, lane: Lane, channel: Channel) -> None:
        channel.sockets += 1
        channel.messages = 0
        channel.up, channel.up_since = True, self._now()
        if channel.sockets > 1:
            self.counts.reconnects += 1
            if lane.state == "live":
                self._tell(lane, "reconnecting", f"{channel.kind}: the connection was lost unnoticed")
        if channel is lane.book:
            lane.unbooked_since = None
        elif lane.last_id is not None:
            self._recovery.catch_up(lane)
        self._settle(lane)

    def _on_data(self, lane: Lane, channel: Channel) -> None:
        lane.heard_at = self._now()
        lane.silent = False
        if not channel.up:
            channel.up, channel.up_since = True, lane.heard_at
        self._settle(lane)

    def _settle(self, lane: Lane) -> None:
        if lane.complete and lane.state != "live":
            self._tell(lane, "live", "")

    def _drop(self, lane: Lane, kinds: Sequence[ChannelKind], detail: str) -> int:
        """Give up the symbol's sockets, as ccxt itself does on a missing pong: the next call dials anew."""
        channels = [c for c in lane.channels if c.kind in kinds]
        dropped = 0
        for socket in list(self.exchange.clients.values()):
            # One that is still being dialled has ccxt's own time limit.
            if socket.connection is not None and any(c.is_named_by(s) for s in socket.subscriptions for c in channels):
                socket.on_error(RequestTimeout(detail))
                dropped += 1
        for channel in channels:
            channel.up = channel.up and not dropped
        return dropped

    # --- watchdog

    async def _mind(self, lane: Lane) -> None:
        """Look for silence, and for a trade stream that has stopped although the venue trades."""
        while True:
            await asyncio.sleep(self._staleness_limit_s / _CHECKS_PER_LIMIT)
            now = self._now()
            if lane.blocked:
                lane.heard_at = now
            elif now - lane.heard_at > self._staleness_limit_s:
                self._on_silence(lane, f"neither trades nor book for {self._staleness_limit_s:g} s", CHANNELS)
            elif lane.unbooked_since is not None and now - lane.unbooked_since > self._staleness_limit_s:
                lane.unbooked_since = None
                self._on_silence(lane, "trades come, the order book stands still", ("orderbook",))
            elif lane.behind >= BEHIND_LIMIT:
                lane.behind = 0
                self._on_silence(lane, "the venue trades, its trade stream is silent", ("trade",))
            elif now - max(lane.traded_at, lane.checked_at) > self._limits.quiet_check_s:
                lane.checked_at = now
                self._recovery.catch_up(lane)

    def _on_silence(self, lane: Lane, detail: str, kinds: Sequence[ChannelKind]) -> None:
        lane.heard_at = self._now()
        if not self._drop(lane, kinds, detail):
            return  # it is being dialled anew already
        self.counts.stale += 1
        lane.silent = True
        _log.warning("%s %s: stale: %s", self.name, lane.symbol, detail)
        self._tell(lane, "stale", detail)

    # --- status and time

    async def _tick(self) -> None:
        """Once a second of silence on a healthy feed, tell the venue's time: the latest seen plus what has passed."""
        while True:
            await asyncio.sleep(1.0)
            passed = self._now() - self._market_ts_at
            healthy = all(lane.complete and not lane.requests for lane in self._lanes.values())
            if healthy and self._market_ts and passed >= 1.0 and not len(self._queue):
                self._queue.put_now(ClockTick(self._market_ts + int(passed * NS_PER_S)))

    def _note_time(self, ts_ns: int) -> None:
        if ts_ns > self._market_ts:
            self._market_ts, self._market_ts_at = ts_ns, self._now()

    def _tell(self, lane: Lane, state: FeedState, detail: str) -> None:
        if (lane.state, lane.detail) != (state, detail):
            lane.state, lane.detail = state, detail
            if state == "live":
                _log.info("%s %s: live", self.name, lane.symbol)
            self._queue.put_now(self._status(lane))

    def _status(self, lane: Lane) -> FeedStatus:
        return FeedStatus(lane.symbol, self.name, lane.state, self._clock.now_ns(), lane.detail)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
