"""The link to a Redis server over redis-py: one command per method, and its errors become ours.

Policy is ``RedisBus``'s. What is sent for a ledger goes as one script, so that the fence, the hole check and
the entries are one step of the server, whatever happens between two of them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from core.bus.link import Entry, Outgoing, Reading, Stream, fenced, gap, usurped
from core.entries import NO_ENTRY, EntryId, entry_id_of, entry_text
from core.errors import BusUnavailableError, FatalError
from core.redis_address import RedisAddress, shown_address

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

ANSWER_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 2.0
CLOSE_TIMEOUT_S: Final = 2.0
KEEPALIVE_S: Final = (10, 5, 3)  # idle, between probes, probes: a peer that vanished is noticed within 25 s
_NOT_NOW: Final = ("OOM", "maxmemory", "MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "BUSY")

_CLAIM: Final = """
local token = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') + 1, tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.0f', token))
return token
"""

# KEYS: stream, fence. ARGV: token, ledger, start, then topic, payload, entry, prev of each message; a broadcast has an
# empty entry. Looks at everything before the first write: a script that has written cannot take it back. Answers an
# outcome, see SendOutcome, with its details.
_SEND: Final = """
local fence = redis.call('GET', KEYS[2])
if not fence or tonumber(fence) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[2], ARGV[1])
elseif tonumber(fence) > tonumber(ARGV[1]) then
  return {'fenced', fence}
end
if #ARGV < 4 then return {'sent'} end
local newest, tx, idx, held = ARGV[3], -1, -1, nil
local found = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if found then
  newest = found[1]
  tx, idx = string.match(newest, '(%d+)-(%d+)')
  tx, idx = tonumber(tx), tonumber(idx)
  local ledger
  for i = 1, #found[2], 2 do
    if found[2][i] == 'l' then ledger = found[2][i + 1] end
    if found[2][i] == 'e' then held = found[2][i + 1] end
  end
  if ledger ~= ARGV[2] then return {'lacking', newest .. ' of the ledger ' .. (ledger or '?'), 0} end
end
local fresh, last = {}, newest
for i = 4, #ARGV, 4 do
  local entry = ARGV[i + 2]
  if entry ~= '' then
    local t, n = string.match(entry, '(%d+)-(%d+)')
    t, n = tonumber(t), tonumber(n)
    if t > tx or (t == tx and n > idx) then
      if ARGV[i + 3] ~= last then return {'lacking', found and last or '', (i - 4) / 4} end
      fresh[i], last, tx, idx = true, entry, t, n
    elseif entry == newest and held ~= ARGV[i + 1] then
      return {'usurped', entry}
    end
  end
end
for i = 4, #ARGV, 4 do
  if fresh[i] then
    redis.call('XADD', KEYS[1], ARGV[i + 2], 't', ARGV[i], 'e', ARGV[i + 1], 'p', ARGV[i + 3], 'l', ARGV[2])
  end
  if fresh[i] or ARGV[i + 2] == '' then redis.call('PUBLISH', ARGV[i], ARGV[i + 1]) end
end
return {'sent'}
"""


class SendOutcome(StrEnum):
    """The answers of the script that sends, and the details that each comes with."""

    SENT = "sent"
    FENCED = "fenced"  # the token of the copy that claimed the stream since; nothing was sent
    LACKING = "lacking"  # the stream's newest entry, and the number of the first message that has no place behind it
    USURPED = "usurped"  # the entry that the stream has with another payload


class RedisLink:
    """One process's connections to one Redis server; see ``Link`` for what each method promises.

    Args:
        redis_url: ``redis://host:port/db`` or ``unix:///path``.
        prefix: what this fleet's keys start with, for what is said of a refusal.
        client: a ready client instead of the URL (fakeredis in tests).
        timeout_s: how long an answer may take.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        prefix: str = "njord",
        client: Redis | None = None,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        self._shown = shown_address(redis_url)
        self._address = redis_url
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._client = client
        self._sender = client  # sends what is to be recorded; apart from the rest, so that each loss is seen there
        self._sent_before = False
        self._loss_told = False

    @property
    def client(self) -> Redis:
        """The client for everything that may be lost; made on first use."""
        if self._client is None:
            from redis.asyncio import Redis

            self._client = Redis.from_url(RedisAddress.parse(self._address).url, **self._connection_options())
        return self._client

    @property
    def sender(self) -> Redis:
        """The one connection that typed messages leave by; made on first use."""
        if self._sender is None:
            from redis.asyncio import BlockingConnectionPool, Redis

            pool = BlockingConnectionPool.from_url(
                RedisAddress.parse(self._address).url,
                max_connections=1,
                timeout=None,
                redis_connect_func=self._admit,
                **self._connection_options(),
            )
            self._sender = Redis.from_pool(pool)
        return self._sender

    def _connection_options(self) -> dict[str, Any]:
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # No silent retries inside the client: a lost connection is to be seen, counted and refilled from ledgers.
        # No time limits for each packet either: one around the call costs less, and redis-py's own loses the
        # cancellation of a task that comes while it sends (``asyncio.wait_for`` of Python 3.11).
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_timeout": None,
        }
        if not self._address.startswith("unix:"):
            options["socket_keepalive"] = True
            options["socket_keepalive_options"] = dict(
                zip((socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT), KEEPALIVE_S, strict=True)
            )
        return options

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

    # ---- by the sender's connection

    async def ping(self) -> None:
        await self._sent(self.sender.ping())

    async def claim(self, fence: str, floor: int) -> int:
        return int(await self._sent(self.sender.eval(_CLAIM, 1, fence, str(floor))))

    async def send(self, messages: Sequence[Outgoing], stream: Stream | None) -> None:
        if stream is None:
            await self._broadcast(messages)
            return
        values: list[str | bytes] = [str(stream.token), stream.ledger, entry_text(stream.start)]
        for topic, payload, entry, prev in messages:
            if entry == NO_ENTRY:
                values += (topic, payload, "", "")
            else:
                values += (topic, payload, entry_text(entry), entry_text(prev))
        try:
            outcome, *details = await self._sent(self.sender.eval(_SEND, 2, stream.key, stream.fence, *values))
        except _NumberRefusedError:
            first = next(message for message in messages if message.entry != NO_ENTRY)
            raise gap(stream, "a stream that had it and lost it", first.entry, first.prev) from None
        match SendOutcome(outcome.decode()):
            case SendOutcome.FENCED:
                raise fenced(stream, int(details[0]))
            case SendOutcome.USURPED:
                raise usurped(stream, details[0].decode())
            case SendOutcome.LACKING:
                first_lacking = messages[int(details[1])]
                raise gap(stream, details[0].decode(), first_lacking.entry, first_lacking.prev)
            case SendOutcome.SENT:
                return

    async def _broadcast(self, messages: Sequence[Outgoing]) -> None:
        if not messages:
            return
        pipeline = self.sender.pipeline(transaction=False)
        for message in messages:
            pipeline.publish(message.topic, message.payload)
        await self._sent(pipeline.execute())

    async def newest(self, key: str) -> tuple[EntryId, str]:
        entries = await self._sent(self.sender.xrevrange(key, count=1))
        return (entry_id_of(entries[0][0].decode()), _text(entries[0][1], b"l")) if entries else (NO_ENTRY, "")

    async def oldest(self, key: str) -> tuple[EntryId, EntryId]:
        entries = await self._sent(self.sender.xrange(key, count=1))
        if not entries:
            return NO_ENTRY, NO_ENTRY
        entry, fields = entries[0]
        return entry_id_of(entry.decode()), _prev(fields) or NO_ENTRY

    async def remove(self, key: str) -> None:
        await self._sent(self.sender.delete(key))

    async def trim(self, key: str, first: EntryId) -> None:
        await self._sent(self.sender.xtrim(key, minid=entry_text(first), approximate=True))

    # ---- by the others

    async def read(self, offsets: Mapping[str, EntryId], watch: str | None, count: int, block_ms: int) -> Reading:
        places: dict[Any, Any] = {key: entry_text(entry) for key, entry in offsets.items()}
        if watch is None:
            answer, value = await self._asked(self.client.xread(places, count=count, block=block_ms)), None
        else:
            pipeline = self.client.pipeline(transaction=False)
            pipeline.xread(places, count=count, block=block_ms)
            pipeline.get(watch)
            answer, value = await self._asked(pipeline.execute())
        return Reading([_entry(key, *raw) for key, entries in _streams(answer) for raw in entries], value)

    async def listen(self, patterns: Sequence[str]) -> AsyncGenerator[tuple[str, bytes] | None, None]:
        pubsub = self.client.pubsub()
        try:
            await self._asked(pubsub.psubscribe(*patterns))
            awaited = len(patterns)
            while True:
                raw = await self._guarded(pubsub.get_message(timeout=None))
                if raw is None:
                    continue
                if raw["type"] == "psubscribe":
                    awaited -= 1
                    if awaited == 0:
                        yield None
                else:
                    yield raw["channel"].decode("utf-8", "replace"), raw["data"]
        finally:
            await _closed(pubsub)

    async def publish(self, topic: str, payload: bytes) -> None:
        await self._asked(self.client.publish(topic, payload))

    async def get(self, key: str) -> bytes | None:
        value: bytes | None = await self._asked(self.client.get(key))
        return value

    async def put_field(self, key: str, field: str, value: str) -> None:
        await self._asked(self.client.hset(key, field, value))

    async def fields(self, key: str) -> dict[str, str]:
        fields = await self._asked(self.client.hgetall(key))
        return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in fields.items()}

    async def close(self) -> None:
        clients = (client for client in (self._client, self._sender) if client is not None)
        for client in dict.fromkeys(clients):
            await _closed(client)

    # ---- what became of a command

    async def _guarded(self, call: Any) -> Any:
        """Await a call of the client; its errors become ours."""
        from redis import exceptions

        lost = (exceptions.ConnectionError, exceptions.TimeoutError, exceptions.ReadOnlyError, OSError)
        try:
            return await call
        except lost as error:
            raise BusUnavailableError(
                f"Redis at {self._shown} does not answer: {str(error).rstrip('.')}. "
                "Start it, or set redis.url in config/base.yaml; "
                "nothing recorded is lost, the daemon goes on when Redis is back"
            ) from error
        except exceptions.ResponseError as error:
            raise self._refusal(error) from error

    def _refusal(self, error: Exception) -> Exception:
        text = str(error)
        if "equal or smaller" in text:
            return _NumberRefusedError(text)
        if any(word in text for word in _NOT_NOW):
            return BusUnavailableError(
                f"Redis at {self._shown} takes nothing now: {text}. Give it memory or disk; "
                "nothing recorded is lost, the daemon goes on when Redis does"
            )
        return FatalError(
            f"Redis at {self._shown} refused a command: {text}. Expected keys below {self._prefix}: to be this "
            "fleet's alone; look at what holds them with TYPE, or set redis.key_prefix in config/base.yaml"
        )

    async def _sent(self, call: Any) -> Any:
        """Await a call of the sender; what fails here has told of the loss."""
        try:
            answer = await self._asked(call)
        except BusUnavailableError:
            self._loss_told = True
            raise
        self._loss_told = False
        return answer

    async def _asked(self, call: Any) -> Any:
        """Await a call that is to be answered in time."""
        return await self._guarded(self._in_time(call))

    async def _in_time(self, call: Any) -> Any:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await call
        except TimeoutError:
            raise TimeoutError(f"no answer within {self._timeout_s:g} s") from None


class _NumberRefusedError(Exception):
    """A stream without entries remembers a higher number than the one it was to take."""


async def _closed(connections: Redis | PubSub) -> None:
    """Release connections, within a limit: one that is half dead may not keep the daemon from ending."""
    with suppress(Exception):  # whatever a connection says when it is thrown away, it is gone
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await connections.aclose()


def _streams(answer: Any) -> Any:
    """The reply of XREAD as pairs of key and entries, in either protocol's shape."""
    if isinstance(answer, dict):
        return [(key, batch) for key, batches in answer.items() for batch in batches]
    return answer or ()


def _entry(key: bytes, number: bytes, fields: Mapping[bytes, bytes]) -> Entry:
    topic, payload = _text(fields, b"t"), fields.get(b"e", b"")
    return Entry(key.decode(), entry_id_of(number.decode()), _prev(fields), _text(fields, b"l"), topic, payload)


def _text(fields: Mapping[bytes, bytes], name: bytes) -> str:
    return fields.get(name, b"").decode("utf-8", "replace")


def _prev(fields: Mapping[bytes, bytes]) -> EntryId | None:
    try:
        return entry_id_of(_text(fields, b"p"))
    except ValueError:
        return None
