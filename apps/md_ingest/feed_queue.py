"""The bounded queue between the feed's tasks and its one reader.

Trades are never dropped: who brings them waits for room. Of a symbol's order books and of its best bids and offers
only the latest waits; the ones it replaces are shed and counted. The queue also carries the feed's end or its failure
to the reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from core.contracts import BboEvent, BookEvent, Contract


@dataclass(frozen=True, slots=True)
class _LatestSlot:
    """The place in the queue of the latest order book, or best bid and offer, of a symbol."""

    contract: type[Contract]
    symbol: str


class FeedQueue:
    """A queue of at most so many events.

    ``shed`` counts the order books and best prices that a later one replaced before they were read; ``waits`` how often
    the queue was full.
    """

    def __init__(self, limit: int) -> None:
        self.shed = 0
        self.waits = 0
        self._limit = limit
        self._items: deque[Contract | _LatestSlot] = deque()
        self._latest: dict[_LatestSlot, BookEvent | BboEvent] = {}
        self._ready = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()
        self._failure: BaseException | None = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, events: Sequence[Contract]) -> bool:
        """Add events in order, waiting while the queue is full; returns whether it had to wait."""
        waited = False
        for start in range(0, len(events), self._limit):
            while len(self._items) >= self._limit and not self._closed:
                waited = True
                self.waits += 1
                self._space.clear()
                await self._space.wait()
            self.put_now(*events[start : start + self._limit])
        return waited

    def put_now(self, *events: Contract) -> None:
        """Add a few events whatever the queue holds: changes of status, the end of a backfill."""
        self._items.extend(events)
        self._ready.set()

    def put_latest(self, event: BookEvent | BboEvent) -> None:
        """Add an order book or best prices, or let them take the place of the symbol's that still wait."""
        slot = _LatestSlot(type(event), event.symbol)
        if slot in self._latest:
            self.shed += 1
        else:
            self._items.append(slot)
        self._latest[slot] = event
        self._ready.set()

    def fail(self, error: BaseException) -> None:
        """Let the reader have what is queued, then this error. The first failure counts."""
        self._failure = self._failure or error
        self._ready.set()

    def close(self) -> None:
        """Let the reader have what is queued, then the end."""
        self._closed = True
        self._ready.set()
        self._space.set()

    async def take(self) -> list[Contract]:
        """Everything that is queued, at least one event; empty once closed. Raises what ``fail`` was given."""
        while not self._items:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                return []
            self._ready.clear()
            await self._ready.wait()
        taken = [self._latest.pop(entry) if isinstance(entry, _LatestSlot) else entry for entry in self._items]
        self._items.clear()
        self._space.set()
        return taken
