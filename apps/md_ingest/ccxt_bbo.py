"""Best bids and offers of the live feed: a stream of its own, which never decides whether a symbol is live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from apps.md_ingest.ccxt_client import (
    ExchangeClient,
    RequestTimeout,
    VenueErrors,
    is_cancelled,
    is_permanent,
    retry_after_s,
    shown,
)
from apps.md_ingest.ccxt_events import Unreadable, bbo_event
from apps.md_ingest.feed_queue import FeedQueue
from apps.md_ingest.feed_state import FeedCounters, Lane
from core.clock import Clock

_log: Final = logging.getLogger("njord.md_ingest.ccxt")


class BestPrices:
    """The stream of best bids and offers of each symbol, kept alive.

    Args:
        exchange: the client, which has ``watch_bids_asks``.
        queue: where the latest of each symbol waits for the reader.
        venue: written into the events.
        clock: stamps receipts.
        counts: of the feed.
        market_ts: the venue's latest time, epoch nanoseconds: the stream carries none.
    """

    def __init__(
        self,
        exchange: ExchangeClient,
        queue: FeedQueue,
        *,
        venue: str,
        clock: Clock,
        counts: FeedCounters,
        market_ts: Callable[[], int],
    ) -> None:
        self._exchange = exchange
        self._queue = queue
        self._venue = venue
        self._clock = clock
        self._counts = counts
        self._market_ts = market_ts

    async def watch(self, lane: Lane) -> None:
        """Follow one symbol for ever; ends where the venue refuses the stream for good, which is logged."""
        while True:
            try:
                await self._next(lane)
                continue
            except VenueErrors as error:
                failure: Exception = error
            except asyncio.CancelledError:
                if is_cancelled():
                    raise
                failure = RequestTimeout("ccxt gave up the socket")
            self._counts.bbo_failures += 1
            if is_permanent(failure):
                _log.warning("%s %s: no best bids and offers: %s", self._venue, lane.symbol, shown(failure))
                return
            delay = max(lane.bbo_backoff.failed(), retry_after_s(self._exchange, failure))
            _log.warning("%s %s best prices: %s; again in %.2f s", self._venue, lane.symbol, shown(failure), delay)
            await asyncio.sleep(delay)

    async def _next(self, lane: Lane) -> None:
        tickers = await self._exchange.watch_bids_asks([lane.symbol])
        lane.bbo_backoff.reset()
        ticker = tickers.get(lane.symbol)
        if ticker is None or lane.would_overtake:
            return
        try:
            event = bbo_event(ticker, lane.symbol, self._venue, self._clock.now_ns(), self._market_ts())
        except Unreadable as error:
            self._counts.unreadable_bbos += 1
            _log.warning("%s %s: unreadable best bid and offer: %s", self._venue, lane.symbol, error)
            return
        self._queue.put_latest(event)
