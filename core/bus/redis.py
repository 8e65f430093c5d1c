"""The bus over Redis: broadcasts by PUBLISH, ledgers by XADD under explicit ids with PUBLISH in the same step.

A lost connection is retried for ever with a growing pause; what it cost shows in the sequences of the
broadcasts and is refilled from the ledgers. Nothing here remembers anything: positions live in ledgers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

from core import codec
from core.bus.cursors import StreamCursors
from core.bus.link import Link, Outgoing, Stream
from core.bus.protocol import INBOX_LIMIT, Inbox, Subscription, broadcast_of, ledger_message_of, wire_bytes
from core.bus.redis_connection import ANSWER_TIMEOUT_S, RedisLink
from core.component import Message
from core.entries import NO_ENTRY, EntryId, entry_id_of, entry_text
from core.errors import BusUnavailableError, CodecError
from core.exact import integer_sum
from core.redis_address import shown_address
from core.tasks import end_tasks

if TYPE_CHECKING:
    from redis.asyncio import Redis

STREAM_BATCH: Final = 256  # entries read from each stream at once
BLOCK_MS: Final = 1_000  # how long one read waits for a new entry
RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 5.0
_BROADCASTS: Final = "broadcasts"  # the readers of a subscription
_STREAMS: Final = "streams"
_log: Final = logging.getLogger("njord.bus")


class RedisBus:
    """Typed and plain publish and subscribe over one Redis server.

    Args:
        redis_url: ``redis://host:port/db`` or ``unix:///path``.
        prefix: what the keys of this fleet start with.
        client: a ready client instead of the URL (fakeredis in tests).
        timeout_s: how long an answer may take.
        inbox_limit: broadcast messages that may wait for a slow consumer before the oldest is shed.
        link: what stands in for the server in a rehearsal.

    Attributes:
        connected: set while every subscription of ``consume`` is in place.
        reconnects: connections lost, not attempts to get them back.
        cut_off: subscriptions that a server, which went on answering, ended: this process read too slowly for it, and
            what was published meanwhile is lost, see ``client-output-buffer-limit`` in the server's configuration.
        holes: times that entries were found behind a hole in their stream, and were not taken.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        prefix: str = "njord",
        client: Redis | None = None,
        inbox_limit: int = INBOX_LIMIT,
        timeout_s: float = ANSWER_TIMEOUT_S,
        link: Link | None = None,
    ) -> None:
        self.url = shown_address(redis_url)
        self.connected = asyncio.Event()
        self.reconnects = 0
        self.cut_off = 0
        self.holes = 0
        self._link: Link = link or RedisLink(redis_url, prefix=prefix, client=client, timeout_s=timeout_s)
        self._prefix = prefix
        self._block_ms = min(BLOCK_MS, int(timeout_s * 500))  # a blocking read must end before it counts as silence
        self._down = False
        self._apart: set[str] = set()  # readers that wait for the server
        self._told_until = 0.0  # loop time before which the outage need not be told again
        self._tokens: dict[str, int] = {}  # by producer, what this process has claimed
        self._watched: tuple[str, bytes | None, float] = ("", None, 0.0)  # key, value, loop time
        self._inbox_limit = inbox_limit
        self._inboxes: list[Inbox] = []
        self._shed = 0  # of inboxes that are gone

    @property
    def shed(self) -> int:
        """Broadcast messages dropped because this process was too slow to take them."""
        return self._shed + integer_sum(inbox.shed for inbox in self._inboxes)

    @property
    def client(self) -> Redis:
        """The Redis client. Raises TypeError when there is none behind this bus."""
        if not isinstance(self._link, RedisLink):
            raise TypeError(f"expected a bus over Redis, got one over {type(self._link).__name__}")
        return self._link.client

    def stream_key(self, producer: str) -> str:
        """The key of a daemon's ledger stream."""
        return f"{self._prefix}:ledger:{producer}"

    def fence_key(self, producer: str) -> str:
        """The key of the token of the copy of a daemon that may send."""
        return f"{self._prefix}:fence:{producer}"

    def offsets_key(self, producer: str) -> str:
        """The key of the hash that says how far each consumer has processed a daemon's stream."""
        return f"{self._prefix}:offsets:{producer}"

    # ---- plain

    async def ping(self) -> None:
        """Return when Redis answers. Raises BusUnavailableError, once too for a connection lost since the last call."""
        await self._link.ping()

    async def get(self, key: str, max_age_s: float = 0.0) -> str | None:
        """The value of a plain key, or of the watched one as it came with entries no longer ago than ``max_age_s``.

        The age counts from when this process read the answer: one that was stopped meanwhile takes it for new.

        Raises:
            BusUnavailableError: Redis does not answer.
        """
        known, value, at = self._watched
        if known != key or asyncio.get_running_loop().time() - at > max_age_s:
            value = await self._link.get(key)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    async def publish_json(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish a JSON payload to a topic. Raises BusUnavailableError."""
        await self._link.publish(topic, codec.encode_plain(payload))

    async def subscribe(self, topic: str) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of a topic or glob from now on. Raises BusUnavailableError when the connection is lost."""
        async with aclosing(self._link.listen([topic])) as heard:
            async for said in heard:
                payload = None if said is None else _payload(*said)
                if payload is not None:
                    yield payload

    async def follow(self, topic: str) -> AsyncGenerator[dict[str, Any], None]:
        """The same over any loss of the connection; what was published meanwhile is missed."""
        pause = RETRY_FIRST_S
        while True:
            try:
                async with aclosing(self._link.listen([topic])) as heard:
                    async for said in heard:
                        pause = RETRY_FIRST_S
                        payload = None if said is None else _payload(*said)
                        if payload is not None:
                            yield payload
            except BusUnavailableError:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)

    # ---- a producer's own stream

    async def claim(self, producer: str, floor_ms: int) -> int:
        """Become the one copy of the producer whose entries are taken; the token, at least ``floor_ms``.

        Raises:
            BusUnavailableError: Redis does not answer.
        """
        self._tokens[producer] = token = await self._link.claim(self.fence_key(producer), floor_ms)
        return token

    async def hold(self, producer: str) -> None:
        """See that the claim stands, and renew it where the server forgot it.

        Raises:
            BusUnavailableError: Redis does not answer.
            FencedError: another copy of the producer has claimed its stream since.
        """
        await self._link.send((), self._stream(producer, ""))

    async def publish(self, messages: Sequence[Message], start: EntryId = NO_ENTRY) -> None:
        """Send messages in one step; a ledger entry that Redis has already is not sent twice.

        Args:
            messages: entries among them are those of one producer, in order, and it was claimed.
            start: what a stream that Redis has not (any more) may begin behind.

        Raises:
            BusUnavailableError: Redis did not confirm; which of the messages arrived is unknown, and
                repeating ledger entries is harmless. Also once after every loss of the connection, before
                anything is sent: Redis may have forgotten earlier entries, see ``last_entry``.
            BusGapError: Redis lacks what comes before an entry; nothing was sent.
            FencedError: another copy of the producer has claimed its stream since; nothing was sent.
        """
        if not messages:
            return
        stream = None
        outgoing = []
        for message in messages:
            if message.entry != NO_ENTRY and stream is None:
                stream = self._stream(message.producer, message.ledger, start)
            outgoing.append(Outgoing(message.topic, wire_bytes(message), message.entry, message.prev))
        await self._link.send(outgoing, stream)

    def _stream(self, producer: str, ledger: str, start: EntryId = NO_ENTRY) -> Stream:
        token = self._tokens.get(producer)
        if token is None:
            raise RuntimeError(f"entries of {producer} are to be sent without a claim: call claim({producer!r}) first")
        return Stream(self.stream_key(producer), self.fence_key(producer), ledger, token, start)

    async def newest(self, producer: str) -> tuple[EntryId, str]:
        """The newest entry of a stream and the identity of its ledger, ``((0, 0), "")`` when Redis has none."""
        return await self._link.newest(self.stream_key(producer))

    async def last_entry(self, producer: str) -> EntryId:
        """The newest entry of a ledger stream, ``(0, 0)`` when Redis has none."""
        return (await self.newest(producer))[0]

    async def oldest(self, producer: str) -> tuple[EntryId, EntryId]:
        """The oldest entry of a stream and what came before it, twice ``(0, 0)`` when Redis has none."""
        return await self._link.oldest(self.stream_key(producer))

    async def remove(self, producer: str) -> None:
        """Forget a producer's stream, so that it can begin anew."""
        await self._link.remove(self.stream_key(producer))

    async def trim(self, producer: str, first: EntryId) -> None:
        """Forget what comes before ``first`` in a producer's stream; more may stay."""
        await self._link.trim(self.stream_key(producer), first)

    async def publish_offsets(self, consumer: str, positions: Mapping[str, EntryId]) -> None:
        """Say up to which entry a consumer has processed each producer's stream. Raises BusUnavailableError."""
        for producer, entry in positions.items():
            await self._link.put_field(self.offsets_key(producer), consumer, entry_text(entry))

    async def consumer_offsets(self, producer: str) -> dict[str, EntryId]:
        """How far each consumer of a producer's stream said that it is. Raises BusUnavailableError."""
        found = await self._link.fields(self.offsets_key(producer))
        said = {}
        for consumer, place in found.items():
            with suppress(ValueError):  # somebody else's hand; its owner writes it anew
                said[consumer] = entry_id_of(place)
        return said

    # ---- consuming

    async def consume(self, wanted: Subscription) -> AsyncGenerator[list[Message], Sequence[Message] | None]:
        """Typed messages in batches; see ``BusProto.consume``. Survives the loss of the connection."""
        inbox = Inbox(self._inbox_limit)
        self._inboxes.append(inbox)
        readers = [asyncio.create_task(self._read_broadcasts(wanted.patterns, inbox))] if wanted.patterns else []
        if wanted.streams:
            readers.append(asyncio.create_task(self._read_streams(wanted, inbox)))
        if wanted.patterns:
            self._apart.add(_BROADCASTS)
        else:
            self.connected.set()
        for reader in readers:
            reader.add_done_callback(lambda _: inbox.close())
        try:
            while batch := await inbox.take():
                inbox.put_back((yield batch) or ())
            for reader in readers:
                if reader.done() and not reader.cancelled():
                    reader.result()  # a reader that failed says why
        finally:
            inbox.close()
            self._inboxes.remove(inbox)
            self._shed += inbox.shed
            await end_tasks(readers)

    async def _read_broadcasts(self, patterns: Sequence[str], inbox: Inbox) -> None:
        pause = RETRY_FIRST_S
        while not inbox.closed:
            losses = -1  # not subscribed
            try:
                async with aclosing(self._link.listen(patterns)) as heard:
                    async for said in heard:
                        if said is not None:
                            inbox.put(broadcast_of(*said))
                            continue
                        self._back(_BROADCASTS)
                        pause, losses = RETRY_FIRST_S, self.reconnects
            except BusUnavailableError as error:
                self._apart.add(_BROADCASTS)
                self.connected.clear()
                if await self._answered_since(losses):
                    self._say_cut_off(error)
                else:
                    pause = await self._lost(error, pause, _BROADCASTS)

    async def _answered_since(self, losses: int) -> bool:
        """Whether the server still answers, and no other connection was lost since there were so many losses."""
        try:
            await self._link.get(f"{self._prefix}:alive")
        except BusUnavailableError:
            return False
        await asyncio.sleep(RETRY_FIRST_S)  # for the other reader to see what became of its connection
        return self.reconnects == losses

    def _say_cut_off(self, error: BusUnavailableError) -> None:
        self.cut_off += 1
        _log.warning(
            "the server ended a subscription while it answers (%s): this process read too slowly, and broadcasts were "
            "lost. Expected to keep up; see client-output-buffer-limit pubsub in the server's configuration",
            error.__cause__ or error,
        )

    async def _read_streams(self, wanted: Subscription, inbox: Inbox) -> None:
        producers = {self.stream_key(producer): producer for producer in wanted.streams}
        cursors = StreamCursors(
            {self.stream_key(producer): entry for producer, entry in wanted.streams.items()},
            {self.stream_key(producer): ledger for producer, ledger in wanted.ledgers.items()},
        )
        watch = wanted.watch
        loop = asyncio.get_running_loop()
        pause = RETRY_FIRST_S
        while not inbox.closed:
            await inbox.room()
            after = cursors.due(loop.time())
            if not after:
                await asyncio.sleep(cursors.wait_s(loop.time()))
                continue
            block_ms = max(1, int(min(self._block_ms, cursors.wait_s(loop.time()) * 1_000)))
            try:
                entries, value = await self._link.read(after, watch, STREAM_BATCH, block_ms)
            except BusUnavailableError as error:
                pause = await self._lost(error, pause, _STREAMS)
                continue
            pause = RETRY_FIRST_S
            self._back(_STREAMS)
            if watch is not None:
                self._watched = (watch, value, loop.time())
            for found in entries:
                if cursors.advance(found):
                    inbox.put(ledger_message_of(producers[found.key], found))
            self.holes += cursors.settle(loop.time())
            await asyncio.sleep(0)  # the consumer goes first, then the next request

    def _back(self, reader: str) -> None:
        """A reader has the server again; readers lose it and find it each at its own time."""
        self._down = False
        self._apart.discard(reader)
        if not self._apart:
            self.connected.set()

    async def _lost(self, error: BusUnavailableError, pause: float, reader: str) -> float:
        """Say that the connection is gone, once for all readers, wait, and return the next pause."""
        self._apart.add(reader)
        self.connected.clear()
        if not self._down:
            self._down = True
            self.reconnects += 1
        now = asyncio.get_running_loop().time()
        if now >= self._told_until:
            self._told_until = now + pause
            _log.warning("%s; trying again in %.2f s", error, pause)
        await asyncio.sleep(pause)
        return min(pause * 2, RETRY_MAX_S)

    def end_subscriptions(self) -> None:
        """Let every consumer finish what it has been given, and no more."""
        for inbox in self._inboxes:
            inbox.close()

    async def close(self) -> None:
        """End every subscription and release the connections."""
        self.end_subscriptions()
        await self._link.close()


def _payload(topic: str, data: bytes) -> dict[str, Any] | None:
    try:
        payload = codec.decode_plain(data)
    except CodecError as error:
        _log.warning("unreadable message on %s: %s", topic, error)
        return None
    return payload if isinstance(payload, dict) else None
