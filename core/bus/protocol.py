"""The promises of a bus, whichever carries it: one process (``MemoryBus``) or many over Redis (``RedisBus``).

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
from core.bus.link import Entry
from core.component import Message, Unreadable
from core.entries import NO_ENTRY, EntryId
from core.errors import RejectedError
from core.topics import Delivery, row_of

INBOX_LIMIT: Final = 65_536  # broadcast messages that wait for a slow consumer before the oldest is shed
STREAM_LIMIT: Final = 4_096  # ledger messages that wait before a stream reader pauses
BATCH_LIMIT: Final = 1_024  # messages handed to a consumer at once


@dataclass(frozen=True)
class Subscription:
    """The topics and streams that one consumer subscribes to.

    Attributes:
        patterns: broadcast topics, as globs.
        streams: producers' streams, each behind an entry.
        watch: a key to be read together with the entries, where the bus has keys.
        ledgers: the identity of the ledger of each stream, as far as it is known. Entries of another one are handed on
            whether they fit or not, for their consumer to refuse.
        listens: the producers whose streams are only listened to. Entries that such a stream no longer keeps are
            passed over, and a ``StreamGap`` says which.
    """

    patterns: tuple[str, ...] = ()
    streams: Mapping[str, EntryId] = field(default_factory=dict)
    watch: str | None = None
    ledgers: Mapping[str, str] = field(default_factory=dict)
    listens: frozenset[str] = frozenset()


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

    def consume(self, subscription: Subscription) -> AsyncGenerator[list[Message], Sequence[Message] | None]:
        """Typed messages in batches: streams from where the subscription stands, broadcasts from now on.

        A consumer that did not get through a batch in its time may ``asend`` the rest of it: that comes again, behind
        the ledger messages that have arrived meanwhile.
        """
        ...

    async def close(self) -> None:
        """Release every connection and end every subscription."""
        ...


class Inbox:
    """The messages that wait for one consumer: ledger messages are kept, broadcasts shed the oldest over the limit.

    Messages leave in the order in which they came, while the consumer keeps up. Once more broadcasts wait than one
    batch holds, or something was put back, ledger messages overtake them: intents and fills are not to wait behind
    stale market data. Shedding and taking cost the same however much waits.
    """

    def __init__(self, limit: int = INBOX_LIMIT) -> None:
        self._limit = limit
        self._broadcasts: deque[Message] = deque()
        self._ledger: deque[tuple[int, Message]] = deque()  # with the number of broadcasts ahead of each
        self._gone = 0  # broadcasts taken or shed
        self._behind = False  # the consumer did not get through its last batch
        self._ready = asyncio.Event()
        self._drained = asyncio.Event()
        self.closed = False
        self.shed = 0

    def __len__(self) -> int:
        return len(self._broadcasts) + len(self._ledger)

    def put(self, message: Message) -> None:
        """Add a message; over the limit the oldest broadcast is dropped and counted."""
        if message.entry == NO_ENTRY:
            self._broadcasts.append(message)
            self._shed_oldest()
        else:
            self._ledger.append((self._gone + len(self._broadcasts), message))
        self._ready.set()

    def put_back(self, messages: Sequence[Message]) -> None:
        """Take back the end of the batch that was taken last: its consumer had no time for it."""
        for message in reversed(messages):
            if message.entry == NO_ENTRY:
                self._broadcasts.appendleft(message)
                self._gone -= 1
            else:
                self._ledger.appendleft((self._gone, message))
        self._shed_oldest()
        self._behind = self._behind or bool(messages)

    def _shed_oldest(self) -> None:
        while len(self._broadcasts) > self._limit:
            self._broadcasts.popleft()
            self._gone += 1
            self.shed += 1

    async def room(self) -> None:
        """Wait until a stream reader may add more: what is durable upstream need not pile up here.

        Broadcasts do not count: a flood of them would keep intents and orders from being read for as long as it lasts.
        """
        while len(self._ledger) > STREAM_LIMIT and not self.closed:
            self._drained.clear()
            await self._drained.wait()

    def close(self) -> None:
        """Let the consumer drain what waits and then end."""
        self.closed = True
        self._ready.set()
        self._drained.set()

    async def take(self) -> list[Message]:
        """The next batch, at least one message; an empty list when closed and drained."""
        while not self:
            if self.closed:
                return []
            self._ready.clear()
            await self._ready.wait()
        overtaking, self._behind = self._behind or len(self._broadcasts) > BATCH_LIMIT, False
        batch: list[Message] = []
        while len(batch) < BATCH_LIMIT and self:
            if self._ledger and (overtaking or not self._broadcasts or self._ledger[0][0] <= self._gone):
                batch.append(self._ledger.popleft()[1])
            else:
                batch.append(self._broadcasts.popleft())
                self._gone += 1
        self._drained.set()
        return batch


def wire_bytes(message: Message) -> bytes:
    """A message as it goes over the wire."""
    return codec.encode_message(message.event, codec.Meta(message.producer, message.seq))


def ledger_message_of(producer: str, entry: Entry) -> Message:
    """An entry of a producer's stream as a message; one that cannot be decoded is ``Unreadable``."""
    place = (entry.id, entry.prev or NO_ENTRY, entry.ledger)
    try:
        row = row_of(entry.topic)
        if producer not in row.producers:
            raise RejectedError(f"{entry.topic} comes from {', '.join(row.producers)}, not from {producer}")
        event, meta = codec.decode_message(row.contract, entry.payload)
    except RejectedError as error:
        return Message(entry.topic, _unreadable(entry.topic, entry.payload, error), producer, 0, *place)
    return Message(entry.topic, event, producer, meta.seq, *place)


def broadcast_of(topic: str, data: bytes) -> Message:
    """A published payload as a message; one that cannot be decoded is ``Unreadable``."""
    try:
        row = row_of(topic)
        if row.delivery is not Delivery.BROADCAST:
            raise RejectedError(f"{topic} is a ledger topic: consume its producer's stream")
        event, meta = codec.decode_message(row.contract, data)
    except RejectedError as error:
        return Message(topic, _unreadable(topic, data, error))
    return Message(topic, event, meta.producer, meta.seq)


def _unreadable(topic: str, data: bytes, error: RejectedError) -> Unreadable:
    return Unreadable(topic, data.decode("utf-8", "replace"), str(error))
