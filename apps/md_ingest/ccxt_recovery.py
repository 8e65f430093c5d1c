"""Trades that the stream did not bring: fetched when asked for by number, and unasked after a reconnect.

A hole in the ids shows itself, and the ingest asks for it. What a reconnect lost at the quiet end of a stream has no
newer trade to show it: there the venue's latest trades are fetched and whatever is newer is handed on.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from apps.md_ingest.ccxt_client import VenueErrors, shown
from apps.md_ingest.ccxt_trades import TradeHistory
from apps.md_ingest.feed_queue import FeedQueue
from apps.md_ingest.feed_state import FeedCounters, Lane
from core.clock import Clock
from core.contracts import TradeEvent
from core.market.sequence import BackfillDone, BackfillRequest, numeric_id

_log: Final = logging.getLogger("njord.md_ingest.ccxt")


class Recovery:
    """Runs one catch-up and one backfill at a time and symbol.

    Args:
        history: the venue over REST.
        queue: where backfilled trades go, followed by their ``BackfillDone``.
        spawn: runs a supervised task.
        hand_on: takes trades that nobody asked for; they count like those of the stream.
        caught_up: told when a symbol's catch-up has ended.
        max_pending: requests a symbol may have waiting; the ones beyond are given up at once.
    """

    def __init__(
        self,
        history: TradeHistory,
        queue: FeedQueue,
        *,
        clock: Clock,
        counts: FeedCounters,
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
        hand_on: Callable[[Lane, Sequence[TradeEvent]], Awaitable[bool]],
        caught_up: Callable[[Lane], None],
        max_pending: int,
    ) -> None:
        self._history = history
        self._queue = queue
        self._clock = clock
        self._counts = counts
        self._spawn = spawn
        self._hand_on = hand_on
        self._caught_up = caught_up
        self._max_pending = max_pending

    def catch_up(self, lane: Lane) -> None:
        """Fetch what is newer than the last trade seen; once more if asked while at it."""
        if lane.catching_up:
            lane.catch_up_again = True
            return
        lane.catching_up = True
        self._spawn(self._fetch_latest(lane), f"catch up {lane.symbol}")

    def backfill(self, lane: Lane, request: BackfillRequest) -> None:
        """Fetch trades by number; exactly one ``BackfillDone`` follows, whatever comes of it."""
        if len(lane.requests) >= self._max_pending:
            self.give_up(request, f"{len(lane.requests)} other requests are waiting")
            return
        lane.requests.append(request)
        if not lane.backfilling:
            lane.backfilling = True
            self._spawn(self._backfill(lane), f"backfill {lane.symbol}")

    def give_up(self, request: BackfillRequest, reason: str) -> None:
        """Answer a request without fetching anything."""
        done = BackfillDone(request.symbol, request.first_id, request.last_id, reason, self._clock.now_ns())
        self._queue.put_now(done)

    async def _fetch_latest(self, lane: Lane) -> None:
        while True:
            lane.catch_up_again = False
            self._counts.catch_ups += 1
            newest = await self._latest(lane)
            if lane.last_id is None:  # no trade since the start: from here on one would be missed
                lane.last_id = max((numeric_id(t.trade_id) or 0 for t in newest), default=None)
            missed = [t for t in newest if (numeric_id(t.trade_id) or 0) > (lane.last_id or 0)]
            if missed:
                lane.behind += 1
                self._counts.recovered += len(missed)
                await self._hand_on(lane, missed)
            if not lane.catch_up_again:
                break
        lane.catching_up = False
        self._caught_up(lane)

    async def _latest(self, lane: Lane) -> list[TradeEvent]:
        """The venue's latest trades; nothing when REST fails: the next trade or quiet check shows what is missing."""
        try:
            return await self._history.latest(lane.symbol)
        except VenueErrors as error:
            self._counts.catch_up_failures += 1
            _log.warning("%s: missed trades not fetched: %s", lane.symbol, shown(error))
            return []

    async def _backfill(self, lane: Lane) -> None:
        while lane.requests:
            trades, done = await self._history.fetch(lane.requests[0])
            await self._queue.put([*trades, done])
            lane.requests.popleft()
            self._counts.backfills += 1
            self._counts.backfilled += len(trades)
        lane.backfilling = False
