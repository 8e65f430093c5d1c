"""The bus over Redis: broadcasts by PUBLISH, ledgers by XADD under explicit ids with PUBLISH in the same pipeline.

A lost connection is retried for ever with a growing pause; what it cost shows in the sequences of the
broadcasts and is refilled from the ledgers. Nothing here remembers anything: positions live in ledgers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from core import codec
from core.bus_link import Entry
from core.bus_protocol import INBOX_LIMIT, Inbox, Subscription, wire_bytes
from core.component import Message, Unreadable
from core.errors import BusUnavailableError, CodecError, FatalError, RejectedError
from core.redaction import redact_text
from core.topics import Delivery, row_of

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import Pipeline

STREAM_BATCH: Final = 256  # entries read from the streams at once
BLOCK_MS: Final = 1_000  # how long one read waits for a new entry
CONNECT_TIMEOUT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 5.0
RETRY_FIRST_S: Final = 0.05
RETRY_MAX_S: Final = 5.0
_log: Final = logging.getLogger("njord.bus")


class RedisBus:
    """Typed and plain publish and subscribe over one Redis server.

    Args:
        redis_url: ``redis://host:port/db`` or ``unix:///path``.
        prefix: what the keys of the ledger streams start with.
        client: a ready client instead of the URL (fakeredis in tests).
        timeout_s: how long an answer may take.
        inbox_limit: broadcast messages that may wait for a slow consumer before the oldest is shed.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        prefix: str = "njord",
        client: Redis | None = None,
        inbox_limit: int = INBOX_LIMIT,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self.url = redact_text(redis_url)  # as it may be shown: without its password
        self._address = redis_url
        self.connected = asyncio.Event()  # every subscription of ``consume`` is in place
        self.reconnects = 0  # connections lost, not attempts to get them back
        self._down = False
        self._told_until = 0.0  # loop time before which the outage need not be told again
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._block_ms = min(BLOCK_MS, int(timeout_s * 500))  # a blocking read must end before it counts as silence
        self._client = client
        self._sender = client  # publishes typed messages; apart from the rest, so that each loss is seen by ``publish``
        self._sent_before = False
        self._loss_told = False
        self._watched: tuple[str, bytes | None, float] = ("", None, 0.0)  # key, value, loop time
        self._inbox_limit = inbox_limit
        self._inboxes: list[Inbox] = []

    @property
    def shed(self) -> int:
        """Broadcast messages dropped because this process was too slow to take them."""
        return sum(inbox.shed for inbox in self._inboxes)

    @property
    def client(self) -> Redis:
        """The Redis client; made on first use."""
        if self._client is None:
            from redis.asyncio import Redis

            self._client = Redis.from_url(self._address, **self._connection_options())
        return self._client

    @property
    def sender(self) -> Redis:
        """The one connection that typed messages leave by; made on first use."""
        if self._sender is None:
            from redis.asyncio import BlockingConnectionPool, Redis

            options = self._connection_options()
            options["socket_timeout"] = None  # one time limit around each call costs less than one for every reply
            pool = BlockingConnectionPool.from_url(
                self._address, max_connections=1, timeout=None, redis_connect_func=self._admit, **options
            )
            self._sender = Redis.from_pool(pool)
        return self._sender

    def _connection_options(self) -> dict[str, Any]:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # No silent retries inside the client: a lost connection is to be seen, counted and refilled from ledgers.
        retry = Retry(NoBackoff(), 0)
        return {"retry": retry, "socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_timeout": self._timeout_s}

    async def _admit(self, connection: Any) -> None:
        """Let the sender connect; after a loss only once the loss was told to whoever sends.

        The client would connect again in silence, and messages sent then could follow a hole in what Redis has.
        """
        from redis.exceptions import ConnectionError as LostError

        if self._sent_before and not self._loss_told:
            self._loss_told = True
            raise LostError("the connection was lost")
        await connection.on_connect()
        self._sent_before, self._loss_told = True, False

    def stream_key(self, producer: str) -> str:
        """The key of a daemon's ledger stream."""
        return f"{self._prefix}:ledger:{producer}"

    async def ping(self) -> None:
        """Return when Redis answers. Raises BusUnavailableError, once too for a connection lost since the last call."""
        await self._sent(self.sender.ping())

    async def get(self, key: str, max_age_s: float = 0.0) -> str | None:
        """The value of a plain key, or of the watched one as it came with entries no longer ago than ``max_age_s``.

        The age counts from when this process read the answer: one that was stopped meanwhile takes it for new.

        Raises:
            BusUnavailableError: Redis does not answer.
        """
        known, value, at = self._watched
        if known != key or asyncio.get_running_loop().time() - at > max_age_s:
            value = await self._guarded(self.client.get(key))
        return value.decode() if isinstance(value, bytes) else value

    async def publish_json(self, topic: str, payload: dict[str, Any]) -> None:
        """Publish a JSON payload to a topic. Raises BusUnavailableError."""
        await self._guarded(self.client.publish(topic, codec.encode_plain(payload)))

    async def subscribe(self, topic: str) -> AsyncGenerator[dict[str, Any], None]:
        """Payloads of a topic or glob from now on. Raises BusUnavailableError."""
        async with self.client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await self._guarded(pubsub.psubscribe(topic))
            while True:
                raw = await self._guarded(pubsub.get_message(timeout=None))
                if raw is None:
                    continue
                try:
                    payload = codec.decode_plain(raw["data"])
                except CodecError as error:
                    _log.warning("unreadable message on %s: %s", raw["channel"], error)
                    continue
                if isinstance(payload, dict):
                    yield payload

    async def publish(self, messages: Sequence[Message]) -> None:
        """Send messages in one pipeline; a ledger entry that Redis has already is not sent twice.

        Raises:
            BusUnavailableError: Redis did not confirm; which of the messages arrived is unknown, and
                repeating ledger entries is harmless. Also once after every loss of the connection, before
                anything is sent: Redis may have forgotten earlier entries, see ``last_entry``.
        """
        if not messages:
            return
        # Entries that belong together become visible together: whoever waits for them wakes up once.
        entries = sum(1 for message in messages if message.entry != (0, 0))
        pipeline = self.sender.pipeline(transaction=entries > 1)
        for message in messages:
            payload = wire_bytes(message)
            if message.entry != (0, 0):
                place = f"{message.entry[0]}-{message.entry[1]}"
                pipeline.xadd(self.stream_key(message.producer), {"t": message.topic, "e": payload}, id=place)
            pipeline.publish(message.topic, payload)
        for result in await self._sent(_results(pipeline)):
            if isinstance(result, Exception) and "equal or smaller" not in str(result):
                raise BusUnavailableError(f"Redis at {self.url} refused a message: {result}") from result

    async def last_entry(self, producer: str) -> Entry:
        """The newest entry of a ledger stream, ``(0, 0)`` when Redis has none."""
        newest = await self._sent(self.sender.xrevrange(self.stream_key(producer), count=1))
        return _entry(newest[0][0]) if newest else (0, 0)

    async def consume(self, wanted: Subscription) -> AsyncGenerator[list[Message], None]:
        """Typed messages in batches; see ``BusProto.consume``. Survives the loss of the connection."""
        inbox = Inbox(self._inbox_limit)
        self._inboxes.append(inbox)
        readers = [asyncio.create_task(self._read_broadcasts(wanted.patterns, inbox))] if wanted.patterns else []
        if wanted.streams:
            readers.append(asyncio.create_task(self._read_streams(dict(wanted.streams), wanted.watch, inbox)))
        if not wanted.patterns:
            self.connected.set()
        for reader in readers:
            reader.add_done_callback(lambda _: inbox.close())
        try:
            while batch := await inbox.take():
                yield batch
            for reader in readers:
                if reader.done() and not reader.cancelled():
                    reader.result()  # a reader that failed says why
        finally:
            inbox.close()
            self._inboxes.remove(inbox)
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read_broadcasts(self, patterns: Sequence[str], inbox: Inbox) -> None:
        pause = RETRY_FIRST_S
        while not inbox.closed:
            try:
                async with self.client.pubsub() as pubsub:
                    await self._guarded(pubsub.psubscribe(*patterns))
                    awaited = len(patterns)
                    while not inbox.closed:
                        raw = await self._guarded(pubsub.get_message(timeout=None))
                        if raw is None:
                            continue
                        if raw["type"] == "psubscribe":
                            awaited -= 1
                            if awaited == 0:
                                self._down = False
                                self.connected.set()
                                pause = RETRY_FIRST_S
                            continue
                        inbox.put(_broadcast(raw["channel"].decode("utf-8", "replace"), raw["data"]))
            except BusUnavailableError as error:
                pause = await self._lost(error, pause)

    async def _read_streams(self, positions: dict[str, Entry], watch: str | None, inbox: Inbox) -> None:
        producers = {self.stream_key(producer).encode(): producer for producer in positions}
        pause = RETRY_FIRST_S
        while not inbox.closed:
            await inbox.room()
            after: dict[Any, Any] = {self.stream_key(p): f"{entry[0]}-{entry[1]}" for p, entry in positions.items()}
            try:
                answer = await self._next_entries(after, watch)
            except BusUnavailableError as error:
                pause = await self._lost(error, pause)
                continue
            pause = RETRY_FIRST_S
            self._down = False
            for key, entries in _streams(answer):
                producer = producers[key]
                for place, fields in entries:
                    positions[producer] = _entry(place)
                    inbox.put(_ledger_message(producer, positions[producer], fields))
            await asyncio.sleep(0)  # the consumer goes first, then the next request

    async def _next_entries(self, after: dict[Any, Any], watch: str | None) -> Any:
        """The next entries of the streams, and with them the watched key as it stands when they have arrived."""
        if watch is None:
            return await self._guarded(self.client.xread(after, count=STREAM_BATCH, block=self._block_ms))
        pipeline = self.client.pipeline(transaction=False)
        pipeline.xread(after, count=STREAM_BATCH, block=self._block_ms)
        pipeline.get(watch)
        answer, value = await self._guarded(pipeline.execute())
        self._watched = (watch, value, asyncio.get_running_loop().time())
        return answer

    async def _lost(self, error: BusUnavailableError, pause: float) -> float:
        """Say that the connection is gone, once for all readers, wait, and return the next pause."""
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

    async def _guarded(self, call: Any) -> Any:
        """Await a call of the client; its connection errors become ours."""
        from redis import exceptions

        lost = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError, OSError)
        try:
            return await call
        except lost as error:
            raise BusUnavailableError(
                f"Redis at {self.url} does not answer: {str(error).rstrip('.')}. "
                "Start it, or set redis.url in config/base.yaml; "
                "nothing recorded is lost, the daemon goes on when Redis is back"
            ) from error
        except exceptions.ResponseError as error:
            raise FatalError(
                f"Redis at {self.url} refused a command: {error}. Expected keys below {self._prefix}: to be this "
                "fleet's alone; look at what holds them with TYPE, or set redis.key_prefix in config/base.yaml"
            ) from error

    async def _sent(self, call: Any) -> Any:
        """Await a call of the sender; what fails here has told of the loss."""
        try:
            answer = await self._guarded(self._in_time(call))
        except BusUnavailableError:
            self._loss_told = True
            raise
        self._loss_told = False
        return answer

    async def _in_time(self, call: Any) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call
        except TimeoutError:
            raise TimeoutError(f"no answer within {self._timeout_s:g} s") from None

    def end_subscriptions(self) -> None:
        """Let every consumer finish what it has been given, and no more."""
        for inbox in self._inboxes:
            inbox.close()

    async def close(self) -> None:
        """End every subscription and release the connections."""
        self.end_subscriptions()
        for client in dict.fromkeys(each for each in (self._client, self._sender) if each is not None):
            with suppress(BusUnavailableError):
                await self._guarded(client.aclose())


async def _results(pipeline: Pipeline) -> list[Any]:
    """What became of each command; of a transaction refused as a whole (memory or disk full), why it was."""
    from redis.exceptions import ResponseError

    try:
        results: list[Any] = await pipeline.execute(raise_on_error=False)
    except ResponseError as refusal:
        return [refusal]
    return results


def _entry(place: bytes | str) -> Entry:
    text = place.decode() if isinstance(place, bytes) else place
    transaction, _, index = text.partition("-")
    return int(transaction), int(index)


def _streams(answer: Any) -> Any:
    """The reply of XREAD as pairs of key and entries, in either protocol's shape."""
    if isinstance(answer, dict):
        return [(key, batch) for key, batches in answer.items() for batch in batches]
    return answer or ()


def _ledger_message(producer: str, entry: Entry, fields: Mapping[bytes, bytes]) -> Message:
    topic, data = fields.get(b"t", b"").decode("utf-8", "replace"), fields.get(b"e", b"")
    try:
        row = row_of(topic)
        if row.producer != producer:
            raise RejectedError(f"{topic} comes from {row.producer}, not from {producer}")
        event, meta = codec.decode_message(row.contract, data)
    except RejectedError as error:
        return Message(topic, Unreadable(topic, data.decode("utf-8", "replace"), str(error)), producer, 0, entry)
    return Message(topic, event, producer, meta.seq, entry)


def _broadcast(topic: str, data: bytes) -> Message:
    try:
        row = row_of(topic)
        if row.delivery is not Delivery.BROADCAST:
            raise RejectedError(f"{topic} is a ledger topic: consume its producer's stream")
        event, meta = codec.decode_message(row.contract, data)
    except RejectedError as error:
        return Message(topic, Unreadable(topic, data.decode("utf-8", "replace"), str(error)))
    return Message(topic, event, meta.producer, meta.seq)
