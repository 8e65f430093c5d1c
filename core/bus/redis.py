"""The bus over Redis: broadcasts by PUBLISH, ledgers by XADD under explicit ids with PUBLISH in the same step.

A lost connection is retried for ever with growing, jittered delays; what it cost shows in the sequences of the
broadcasts and is refilled from the ledgers. Nothing here remembers anything: consumer offsets live in ledgers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any, Final

from core import codec
from core.bus.connection_state import ConnectionState
from core.bus.cursors import StreamCursors
from core.bus.link import Link, Outgoing, Stream
from core.bus.protocol import INBOX_LIMIT, Inbox, Subscription, broadcast_of, ledger_message_of, wire_bytes
from core.bus.redis_connection import ANSWER_TIMEOUT_S, RedisLink
from core.component import Message
from core.contracts import StreamGap
from core.entries import NO_ENTRY, ConsumerOffset, EntryId, entry_id_of, entry_text
from core.errors import BusUnavailableError, CodecError
from core.exact import integer_sum
from core.redis_address import shown_address
from core.retry import Backoff, BackoffPolicy, Draw, unspread
from core.tasks import end_tasks

if TYPE_CHECKING:
    from redis.asyncio import Redis

STREAM_BATCH: Final = 256  # entries read from each stream at once
BLOCK_MS: Final = 1_000  # how long one read waits for a new entry
RECONNECT: Final = BackoffPolicy(initial_s=0.05, cap_s=5.0, healthy_after_s=0.0)
FOLLOW: Final = BackoffPolicy(initial_s=0.05, cap_s=1.0, healthy_after_s=0.0)  # plain topics, by people and tools
SECOND_LOOK_S: Final = 0.05  # for the other reader to see the loss of its connection
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
        draw: spreads the attempts to connect again; a daemon passes a generator of its own.

    Attributes:
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
        draw: Draw = unspread,
    ) -> None:
        self.url = shown_address(redis_url)
        self.cut_off = 0
        self.holes = 0
        self._link: Link = link or RedisLink(redis_url, prefix=prefix, client=client, timeout_s=timeout_s)
        self._prefix = prefix
        self._block_ms = min(BLOCK_MS, int(timeout_s * 500))  # a blocking read must end before it counts as silence
        self._draw = draw
        self._state = ConnectionState()
        self._tokens: dict[str, int] = {}  # by producer, what this process has claimed
        self._watched: tuple[str, bytes | None, float] = ("", None, 0.0)  # key, value, loop time
        self._inbox_limit = inbox_limit
        self._inboxes: list[Inbox] = []
        self._shed = 0  # of inboxes that are gone

    @property
    def connected(self) -> asyncio.Event:
        """Set while every subscription of ``consume`` is in place."""
        return self._state.connected

    @property
    def reconnects(self) -> int:
        """Connections lost, not attempts to get them back."""
        return self._state.losses

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
        """The key of the hash that holds the consumer offsets of a daemon's stream."""
        return f"{self._prefix}:offsets:{producer}"

    @property
    def beginnings_key(self) -> str:
        """The key of the hash that says behind which entry each daemon's stream begins for its listeners."""
        return f"{self._prefix}:beginnings"

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
        watched, value, at = self._watched
        if watched != key or asyncio.get_running_loop().time() - at > max_age_s:
            value = await self._link.get(key)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    async def publish_json(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish a JSON payload to a topic. Raises BusUnavailableError."""
        await self._link.publish(topic, codec.encode_plain(payload))

    async def subscribe(self, topic: str) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of a topic or glob from now on. Raises BusUnavailableError when the connection is lost."""
        async with aclosing(self._link.listen([topic])) as publications:
            async for publication in publications:
                payload = None if publication is None else _payload(*publication)
                if payload is not None:
                    yield payload

    async def follow(self, topic: str) -> AsyncGenerator[dict[str, Any], None]:
        """The same over any loss of the connection; what was published meanwhile is missed."""
        backoff = Backoff(FOLLOW, self._draw)
        while True:
            try:
                async with aclosing(self._link.listen([topic])) as publications:
                    async for publication in publications:
                        backoff.reset()
                        payload = None if publication is None else _payload(*publication)
                        if payload is not None:
                            yield payload
            except BusUnavailableError:
                await asyncio.sleep(backoff.failed())

    # ---- a producer's own stream

    async def claim(self, producer: str, floor_ms: int) -> int:
        """Become the one copy of the producer whose entries are taken; the token, at least ``floor_ms``.

        Raises:
            BusUnavailableError: Redis does not answer.
        """
        self._tokens[producer] = token = await self._link.claim(self.fence_key(producer), floor_ms)
        return token

    async def hold(self, producer: str) -> None:
        """Check that the claim stands, and repeat it where the server forgot it.

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
                anything is sent: Redis may have forgotten earlier entries, see ``newest``.
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

    async def oldest(self, producer: str) -> tuple[EntryId, EntryId]:
        """The oldest entry of a stream and what came before it, twice ``(0, 0)`` when Redis has none."""
        return await self._link.oldest(self.stream_key(producer))

    async def remove(self, producer: str) -> None:
        """Forget a producer's stream, so that it can begin anew."""
        await self._link.remove(self.stream_key(producer))

    async def trim(self, producer: str, first: EntryId) -> None:
        """Forget what comes before ``first`` in a producer's stream; more may stay."""
        await self._link.trim(self.stream_key(producer), first)

    async def publish_offsets(self, consumer: str, offsets: Mapping[str, ConsumerOffset]) -> None:
        """Publish the offsets of a consumer, by producer. Raises BusUnavailableError."""
        for producer, offset in offsets.items():
            await self._link.put_field(self.offsets_key(producer), consumer, entry_text(offset))

    async def consumer_offsets(self, producer: str) -> dict[str, ConsumerOffset]:
        """The offsets in a producer's stream, of those that have published one. Raises BusUnavailableError."""
        return _entry_ids(await self._link.fields(self.offsets_key(producer)))

    async def publish_beginning(self, producer: str, entry: EntryId) -> None:
        """Say that a producer's stream begins behind an entry, and keeps nothing before for listeners.

        Raises:
            BusUnavailableError: Redis does not answer.
        """
        await self._link.put_field(self.beginnings_key, producer, entry_text(entry))

    async def beginnings(self) -> dict[str, EntryId]:
        """The entries behind which streams begin for listeners, by producer. Raises BusUnavailableError."""
        return _entry_ids(await self._link.fields(self.beginnings_key))

    # ---- consuming

    async def consume(self, subscription: Subscription) -> AsyncGenerator[list[Message], Sequence[Message] | None]:
        """Typed messages in batches; see ``BusProto.consume``. Survives the loss of the connection."""
        inbox = Inbox(self._inbox_limit)
        self._inboxes.append(inbox)
        readers: list[asyncio.Task[None]] = []
        if subscription.patterns:
            self._state.expect(_BROADCASTS)
            readers.append(asyncio.create_task(self._read_broadcasts(subscription.patterns, inbox)))
        else:
            self.connected.set()
        if subscription.streams:
            readers.append(asyncio.create_task(self._read_streams(subscription, inbox)))
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
        backoff = Backoff(RECONNECT, self._draw)
        while not inbox.closed:
            losses = -1  # not subscribed
            try:
                async with aclosing(self._link.listen(patterns)) as publications:
                    async for publication in publications:
                        if publication is not None:
                            inbox.put(broadcast_of(*publication))
                            continue
                        self._state.restored(_BROADCASTS)
                        backoff.reset()
                        losses = self.reconnects
            except BusUnavailableError as error:
                self._state.interrupted(_BROADCASTS)
                if await self._answered_since(losses):
                    self._log_cut_off(error)
                else:
                    await self._wait_after_loss(_BROADCASTS, error, backoff)

    async def _answered_since(self, losses: int) -> bool:
        """Whether the server still answers, and no other connection was lost since there were so many losses."""
        try:
            await self._link.get(f"{self._prefix}:alive")
        except BusUnavailableError:
            return False
        await asyncio.sleep(SECOND_LOOK_S)
        return self.reconnects == losses

    def _log_cut_off(self, error: BusUnavailableError) -> None:
        self.cut_off += 1
        _log.warning(
            "the server ended a subscription while it answers (%s): this process read too slowly, and broadcasts were "
            "lost. Expected to keep up; see client-output-buffer-limit pubsub in the server's configuration",
            error.__cause__ or error,
        )

    async def _read_streams(self, subscription: Subscription, inbox: Inbox) -> None:
        producers = {self.stream_key(producer): producer for producer in subscription.streams}
        cursors = StreamCursors(
            {self.stream_key(producer): offset for producer, offset in subscription.streams.items()},
            {self.stream_key(producer): ledger for producer, ledger in subscription.ledgers.items()},
            self._draw,
        )
        watch = subscription.watch
        loop = asyncio.get_running_loop()
        backoff = Backoff(RECONNECT, self._draw)
        while not inbox.closed:
            await inbox.room()
            offsets = cursors.due(loop.time())
            if not offsets:
                await asyncio.sleep(cursors.wait_s(loop.time()))
                continue
            block_ms = max(1, int(min(self._block_ms, cursors.wait_s(loop.time()) * 1_000)))
            try:
                entries, value = await self._link.read(offsets, watch, STREAM_BATCH, block_ms)
                self._state.restored(_STREAMS)
                if watch is not None:
                    self._watched = (watch, value, loop.time())
                for entry in entries:
                    if cursors.advance(entry):
                        inbox.put(ledger_message_of(producers[entry.key], entry))
                await self._pass_over_holes(cursors, producers, subscription.listens, inbox)
            except BusUnavailableError as error:
                self.holes += cursors.settle(loop.time())
                await self._wait_after_loss(_STREAMS, error, backoff)
                continue
            backoff.reset()
            self.holes += cursors.settle(loop.time())
            await asyncio.sleep(0)  # the consumer goes first, then the next request

    async def _pass_over_holes(
        self, cursors: StreamCursors, producers: Mapping[str, str], listens: frozenset[str], inbox: Inbox
    ) -> None:
        """Pass over the holes that will not be filled for a listener, and hand it a gap for each of them.

        Raises:
            BusUnavailableError: Redis does not answer.
        """
        holes = {key: hole for key, hole in cursors.holes().items() if producers[key] in listens}
        beginnings = await self.beginnings() if holes else {}
        for key, hole in holes.items():
            producer = producers[key]
            if hole.until <= beginnings.get(producer, NO_ENTRY):
                cursors.pass_over(key)
                gap = StreamGap(producer, entry_text(hole.behind), entry_text(hole.until))
                inbox.put(Message("", gap, producer, 0, hole.until, hole.behind, hole.ledger))

    async def _wait_after_loss(self, reader: str, error: BusUnavailableError, backoff: Backoff) -> None:
        delay_s = backoff.failed()
        self._state.lost(reader, error, delay_s, asyncio.get_running_loop().time())
        await asyncio.sleep(delay_s)

    def end_subscriptions(self) -> None:
        """Let every consumer finish the messages that it has, and no more."""
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
    if not isinstance(payload, dict):
        _log.warning("unreadable message on %s: expected a JSON object, got %.200r", topic, payload)
        return None
    return payload


def _entry_ids(fields: Mapping[str, str]) -> dict[str, EntryId]:
    """The fields of a hash that are entry ids. Others are somebody else's hand; their owner writes them anew."""
    ids = {}
    for name, text in fields.items():
        with suppress(ValueError):
            ids[name] = entry_id_of(text)
    return ids
