"""The bus of one process: embedded fleets, tests, rehearsals. Same promises as over Redis, no Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import Any

from core.bus.protocol import INBOX_LIMIT, Inbox, Subscription
from core.component import Message
from core.entries import NO_ENTRY, EntryId, entry_text
from core.errors import BusGapError, RejectedError
from core.exact import integer_sum
from core.topics import Delivery, row_of


class MemoryBus:
    """Carries messages between the tasks of one event loop."""

    def __init__(self, inbox_limit: int = INBOX_LIMIT) -> None:
        self._limit = inbox_limit
        self._streams: dict[str, list[Message]] = {}
        self._typed: list[tuple[Subscription, Inbox]] = []
        self._tokens: dict[str, int] = {}
        self._plain: list[tuple[str, asyncio.Queue[dict[str, Any] | None]]] = []

    @property
    def shed(self) -> int:
        """Broadcast messages dropped because their consumer was too slow."""
        return integer_sum(inbox.shed for _, inbox in self._typed)

    async def publish_json(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish a JSON payload to plain subscribers of the topic; typed consumers get it when it is a broadcast."""
        self._to_plain(topic, payload)
        try:
            row = row_of(topic)
        except RejectedError:
            return  # nobody's topic, such as the heartbeats: for plain subscribers alone
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

    def follow(self, topic: str) -> AsyncGenerator[dict[str, Any], None]:
        """The same: in one process no connection is lost."""
        return self.subscribe(topic)

    async def claim(self, producer: str, floor_ms: int) -> int:
        """A token above every one before. Nobody is refused: who shares a process shares its ledgers."""
        self._tokens[producer] = token = max(self._tokens.get(producer, 0) + 1, floor_ms)
        return token

    async def publish(self, messages: Sequence[Message], start: EntryId = NO_ENTRY) -> None:
        """Send typed messages at once, in order; an entry that is there already is not sent twice.

        Args:
            start: what a stream without entries may begin behind.

        Raises:
            BusGapError: a stream lacks what comes before an entry; nothing was sent.
        """
        for message in self._fresh(messages, start):
            if message.entry != NO_ENTRY:
                self._streams.setdefault(message.producer, []).append(message)
            if self._plain:
                self._to_plain(message.topic, message.event.to_dict())
            self._to_typed(message)

    def _fresh(self, messages: Sequence[Message], start: EntryId) -> list[Message]:
        """The messages without entries that are there already."""
        fresh: list[Message] = []
        newest: dict[str, EntryId] = {}
        for message in messages:
            if message.entry != NO_ENTRY:
                stream = self._streams.get(message.producer, [])
                last = newest.get(message.producer) or (stream[-1].entry if stream else NO_ENTRY)
                if message.entry <= last:
                    continue
                foreign = bool(stream) and stream[-1].ledger != message.ledger
                if foreign or message.prev != (last if last != NO_ENTRY else start):
                    raise BusGapError(
                        f"the stream of {message.producer} lacks what comes before {entry_text(message.entry)}: "
                        f"expected {entry_text(message.prev)}, got {entry_text(last)}"
                    )
                newest[message.producer] = message.entry
            fresh.append(message)
        return fresh

    def consume(self, subscription: Subscription) -> AsyncGenerator[list[Message], Sequence[Message] | None]:
        """Typed messages in batches; see ``BusProto.consume``."""
        inbox = Inbox(self._limit)
        for producer, offset in subscription.streams.items():
            for message in self._streams.get(producer, ()):
                if message.entry > offset:
                    inbox.put(message)
        self._typed.append((subscription, inbox))
        return self._batches(subscription, inbox)

    async def _batches(
        self, subscription: Subscription, inbox: Inbox
    ) -> AsyncGenerator[list[Message], Sequence[Message] | None]:
        try:
            while batch := await inbox.take():
                inbox.put_back((yield batch) or ())
        finally:
            with suppress(ValueError):
                self._typed.remove((subscription, inbox))

    def _to_plain(self, topic: str, payload: dict[str, Any]) -> None:
        for pattern, queue in self._plain:
            if fnmatchcase(topic, pattern):
                queue.put_nowait(payload)

    def _to_typed(self, message: Message) -> None:
        for subscription, inbox in self._typed:
            if message.entry != NO_ENTRY:
                if message.producer in subscription.streams:
                    inbox.put(message)
            elif any(fnmatchcase(message.topic, pattern) for pattern in subscription.patterns):
                inbox.put(message)

    async def close(self) -> None:
        """End every subscription; what waits is still delivered."""
        for _, inbox in self._typed:
            inbox.close()
        for _, queue in self._plain:
            queue.put_nowait(None)
