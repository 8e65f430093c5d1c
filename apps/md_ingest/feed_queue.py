"""The bounded queue between the feed's tasks and its one reader.

Trades are never dropped: who brings them waits for room. Of a symbol's books only the latest waits; the ones
it replaces are shed and counted. The queue also carries the feed's end or its failure to the reader.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from core.contracts import BookEvent, Contract


@dataclass(frozen=True, slots=True)
class _BookSlot:
    """Stands in the queue for the latest book of a symbol."""

    symbol: str


class FeedQueue:
    """``shed`` counts the books that a later one replaced before they were read; ``waits`` how often it was full."""

    def __init__(self, limit: int) -> None:
        self.shed = 0
        self.waits = 0
        self._limit = limit
        self._items: deque[Contract | _BookSlot] = deque()
        self._books: dict[str, BookEvent] = {}
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

    def put_book(self, book: BookEvent) -> None:
        """Add a book, or let it take the place of the symbol's book that still waits."""
        if book.symbol in self._books:
            self.shed += 1
        else:
            self._items.append(_BookSlot(book.symbol))
        self._books[book.symbol] = book
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
        taken = [self._books.pop(i.symbol) if isinstance(i, _BookSlot) else i for i in self._items]
        self._items.clear()
        self._space.set()
        return taken
