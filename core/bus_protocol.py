"""What a bus promises, whichever carries it: one process (``MemoryBus``) or many over Redis (``RedisBus``).

Broadcast topics are published and may be lost, visibly: every message carries producer and sequence.
Ledger topics go to their producer's stream under explicit ids and are published besides; a consumer
resumes from the last entry in its own ledger, so what Redis or a crash repeats falls away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from core import codec
from core.bus_link import Entry
from core.component import Message

INBOX_LIMIT: Final = 65_536  # broadcast messages that wait for a slow consumer before the oldest is shed
STREAM_LIMIT: Final = 4_096  # ledger messages that wait before a stream reader pauses
BATCH_LIMIT: Final = 1_024  # messages handed to a consumer at once


@dataclass(frozen=True)
class Subscription:
    """What a consumer wants: broadcast topics as globs, and producers' streams after the given entries.

    ``watch`` names a key to be read together with the entries, where the bus has keys.
    """

    patterns: tuple[str, ...] = ()
    streams: Mapping[str, Entry] = field(default_factory=dict)
    watch: str | None = None


class BusProto(Protocol):
    """Bus protocol for publish and subscribe."""

    async def publish_json(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish a JSON payload to a topic."""
        ...

    def subscribe(self, topic: str) -> AsyncIterator[dict[str, Any]]:
        """Payloads of a topic or glob from now on: ``async for payload in bus.subscribe(topic)``."""
        ...

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send typed messages: broadcast ones to their topics, ledger ones to their producer's stream too."""
        ...

    def consume(self, wanted: Subscription) -> AsyncGenerator[list[Message], None]:
        """Typed messages in batches: streams from where the subscription stands, broadcasts from now on."""
        ...

    async def close(self) -> None:
        """Release every connection and end every subscription."""
        ...


class Inbox:
    """What waits for one consumer: ledger messages are kept, broadcasts shed the oldest over the limit."""

    def __init__(self, limit: int = INBOX_LIMIT) -> None:
        self._limit = limit
        self._waiting: deque[Message] = deque()
        self._broadcasts = 0
        self._ready = asyncio.Event()
        self._drained = asyncio.Event()
        self.closed = False
        self.shed = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, message: Message) -> None:
        """Add a message; over the limit the oldest broadcast is dropped and counted."""
        if message.entry == (0, 0):
            self._broadcasts += 1
            if self._broadcasts > self._limit:
                self._shed_oldest()
        self._waiting.append(message)
        self._ready.set()

    def _shed_oldest(self) -> None:
        for place, message in enumerate(self._waiting):
            if message.entry == (0, 0):
                del self._waiting[place]
                self._broadcasts -= 1
                self.shed += 1
                return

    async def room(self) -> None:
        """Wait until a stream reader may add more: what is durable upstream need not pile up here.

        Broadcasts do not count: a flood of them would keep intents and orders from being read for as long as it lasts.
        """
        while len(self._waiting) - self._broadcasts > STREAM_LIMIT and not self.closed:
            self._drained.clear()
            await self._drained.wait()

    def close(self) -> None:
        """Let the consumer drain what waits and then end."""
        self.closed = True
        self._ready.set()
        self._drained.set()

    async def take(self) -> list[Message]:
        """The next batch, at least one message; an empty list when closed and drained."""
        while not self._waiting:
            if self.closed:
                return []
            self._ready.clear()
            await self._ready.wait()
        count = min(len(self._waiting), BATCH_LIMIT)
        batch = [self._waiting.popleft() for _ in range(count)]
        self._drained.set()
        self._broadcasts -= sum(1 for message in batch if message.entry == (0, 0))
        return batch


def wire_bytes(message: Message) -> bytes:
    """A message as it goes over the wire."""
    return codec.encode_message(message.event, codec.Meta(message.producer, message.seq))
