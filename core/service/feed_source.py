"""The source of a feed daemon: raw events, read ahead of the work until the feed ends or the daemon stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from core.contracts import Contract

FEED_AHEAD: Final = 4_096  # raw market events read ahead of the one handled


@dataclass
class Source:
    """A feed as a daemon uses it.

    Attributes:
        events: the raw events.
        on_local: takes the component's local answers (back-fill requests).
        counters: gives what the feed has counted since the start, by names in snake case. ``/health`` shows them
            under ``feed``, ``/metrics`` as ``njord_feed_{name}_total``.
    """

    events: AsyncIterator[Contract]
    on_local: Callable[[Contract], None] = field(default=lambda _: None)
    counters: Callable[[], Mapping[str, int]] = field(default=dict)


class ReadAhead:
    """Reads a source in the background and hands out what is ready."""

    def __init__(self, events: AsyncIterator[Contract]) -> None:
        self._events = events
        self._waiting: asyncio.Queue[Contract | None] = asyncio.Queue(FEED_AHEAD)
        self._reading: asyncio.Task[None] | None = None

    async def batch(self, limit: int) -> list[Contract]:
        """The events that the feed has ready, one at least and ``limit`` at most; none at the end or after ``stop``."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        event = await self._waiting.get()
        batch: list[Contract] = []
        while event is not None:
            batch.append(event)
            if len(batch) == limit or self._waiting.empty():
                return batch
            event = self._waiting.get_nowait()
        self._end()  # seen again by the next call
        return batch

    def stop(self) -> None:
        """Let whoever waits for a batch go on."""
        self._end()

    async def close(self) -> None:
        """Stop reading. Raises what the feed failed with."""
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

    async def _read(self) -> None:
        try:
            async for event in self._events:
                await self._waiting.put(event)
        finally:
            task = asyncio.current_task()
            if task is None or not task.cancelling():  # else nobody takes it, and a full queue would wait for ever
                await self._waiting.put(None)

    def _end(self) -> None:
        with suppress(asyncio.QueueFull):  # then nobody waits
            self._waiting.put_nowait(None)
