"""Where market data comes from: the protocols that every feed keeps, and ``open_feed`` for the offline ones.

A feed yields raw events; ``core.market.ingest.MarketDataIngest`` puts them in order, removes duplicates and
checks them, whatever the source.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from core.contracts import Contract
from core.market.sequence import BackfillRequest


class Feed(Protocol):
    """A source that runs in time: the live venue, or an offline feed paced by ``apps.md_ingest.replay``."""

    name: str
    symbols: tuple[str, ...]

    def stream(self) -> AsyncIterator[Contract]:
        """Raw ``TradeEvent``, ``BookEvent``, ``TickerEvent``, ``FeedStatus``, ``BackfillDone`` and, from a live
        feed while nothing happens, ``ClockTick``. Ends with the feed."""
        ...

    def backfill(self, request: BackfillRequest) -> None:
        """Fetch the missing trades in the background: they come out of ``stream``, followed by exactly one
        ``BackfillDone`` of the same range, whatever could be fetched. Must not block."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and tasks. Safe to call twice."""
        ...


class OfflineFeed(Protocol):
    """A source that is read as fast as it is asked: the same input gives the same events."""

    name: str
    symbols: tuple[str, ...]
    rejected: int

    def events(self) -> Iterator[Contract]:
        """Raw events in the order of receipt; at the end one ``FeedStatus`` ``ended`` a symbol."""
        ...

    def checksum(self) -> str:
        """SHA-256, hexadecimal, of everything that decides what ``events`` yields."""
        ...
