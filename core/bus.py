"""The bus between daemons: one protocol, one process (``MemoryBus``) or many over Redis (``RedisBus``).

Broadcast topics are published and may be lost, visibly: every message carries producer and sequence.
Ledger topics go to their producer's stream under explicit ids and are published besides; a consumer
resumes from the last entry in its own ledger, so what Redis or a crash repeats falls away.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Protocol

from core import codec
from core.component import Message
from core.topics import Delivery, row_of

Entry = tuple[int, int]

INBOX_LIMIT: Final = 65_536  # broadcast messages that wait for a slow consumer before the oldest is shed
BATCH_LIMIT: Final = 1_024  # messages handed to a consumer at once


@dataclass(frozen=True)
class Subscription:
    """What a consumer wants: broadcast topics as globs, and producers' streams after the given entries."""

    patterns: tuple[str, ...] = ()
    streams: Mapping[str, Entry] = field(default_factory=dict)


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
        self._closed = False
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

    def close(self) -> None:
        """Let the consumer drain what waits and then end."""
        self._closed = True
        self._ready.set()

    async def take(self) -> list[Message]:
        """The next batch, at least one message; an empty list when closed and drained."""
        while not self._waiting:
            if self._closed:
                return []
            self._ready.clear()
            await self._ready.wait()
        count = min(len(self._waiting), BATCH_LIMIT)
        batch = [self._waiting.popleft() for _ in range(count)]
        self._broadcasts -= sum(1 for message in batch if message.entry == (0, 0))
        return batch


class MemoryBus:
    """The bus of one process: embedded fleets, tests, rehearsals. Same promises, no Redis."""

    def __init__(self, inbox_limit: int = INBOX_LIMIT) -> None:
        self._limit = inbox_limit
        self._streams: dict[str, list[Message]] = {}
        self._typed: list[tuple[Subscription, Inbox]] = []
        self._plain: list[tuple[str, asyncio.Queue[dict[str, Any] | None]]] = []

    @property
    def shed(self) -> int:
        """Broadcast messages dropped because their consumer was too slow."""
        return sum(inbox.shed for _, inbox in self._typed)

    async def publish_json(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish a JSON payload to plain subscribers of the topic; typed consumers get it when it is a broadcast."""
        self._to_plain(topic, payload)
        row = row_of(topic)
        if row.delivery is Delivery.BROADCAST:
            self._to_typed(Message(topic, row.contract.from_dict(payload)))

    def subscribe(self, topic: str) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of a topic or glob from now on."""
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._plain.append((topic, queue))
        return self._drain(topic, queue)

    async def _drain(
        self, topic: str, queue: asyncio.Queue[dict[str, Any] | None]
    ) -> AsyncGenerator[dict[str, Any], None]:
        try:
            while (payload := await queue.get()) is not None:
                yield payload
        finally:
            with suppress(ValueError):
                self._plain.remove((topic, queue))

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send typed messages at once, in order."""
        for message in messages:
            if message.entry != (0, 0):
                stream = self._streams.setdefault(message.producer, [])
                if stream and message.entry <= stream[-1].entry:
                    continue  # as Redis does: an id is accepted once
                stream.append(message)
            if self._plain:
                self._to_plain(message.topic, message.event.to_dict())
            self._to_typed(message)

    def consume(self, wanted: Subscription) -> AsyncGenerator[list[Message], None]:
        """Typed messages in batches; see ``BusProto.consume``."""
        inbox = Inbox(self._limit)
        for producer, after in wanted.streams.items():
            for message in self._streams.get(producer, ()):
                if message.entry > after:
                    inbox.put(message)
        self._typed.append((wanted, inbox))
        return self._batches(wanted, inbox)

    async def _batches(self, wanted: Subscription, inbox: Inbox) -> AsyncGenerator[list[Message], None]:
        try:
            while batch := await inbox.take():
                yield batch
        finally:
            with suppress(ValueError):
                self._typed.remove((wanted, inbox))

    def _to_plain(self, topic: str, payload: dict[str, Any]) -> None:
        for pattern, queue in self._plain:
            if fnmatchcase(topic, pattern):
                queue.put_nowait(payload)

    def _to_typed(self, message: Message) -> None:
        for wanted, inbox in self._typed:
            if message.entry != (0, 0):
                if message.producer in wanted.streams:
                    inbox.put(message)
            elif any(fnmatchcase(message.topic, pattern) for pattern in wanted.patterns):
                inbox.put(message)

    async def close(self) -> None:
        """End every subscription; what waits is still delivered."""
        for _, inbox in self._typed:
            inbox.close()
        for _, queue in self._plain:
            queue.put_nowait(None)


def wire_bytes(message: Message) -> bytes:
    """A message as it goes over the wire."""
    return codec.encode_message(message.event, codec.Meta(message.producer, message.seq))
