"""A producer with its ledger and relay, and consumers that follow its stream, over a server that others meddle with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from core.bus import Bus
from core.bus.cursors import StreamCursors
from core.bus.link import Entry, Link, Outgoing, Reading, Stream
from core.bus.redis_connection import RedisLink
from core.component import Message
from core.contracts import Contract, OrderIntent
from core.entries import EntryId
from core.ledger import Ledger, ledger
from core.retry import Draw, unspread
from core.service.host import ComponentHost, JournalSet
from core.service.relay import Relay

NAME: Final = "strategy_runner"
KEY: Final = f"njord:ledger:{NAME}"
CONSUMERS: Final = ("paper_trader", "risk_engine")
Meddle = Callable[[str], Awaitable[None]]


async def leave_alone(_: str) -> None:
    """Do nothing before a command."""


class MeddledLink:
    """A link before whose every command something may happen to the server."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.before: Meddle = leave_alone
        self.commands: list[str] = []

    async def _first(self, name: str) -> Link:
        self.commands.append(name)
        await self.before(name)
        return self._link

    async def ping(self) -> None:
        await (await self._first("ping")).ping()

    async def claim(self, fence: str, floor: int) -> int:
        return await (await self._first("claim")).claim(fence, floor)

    async def send(self, messages: Sequence[Outgoing], stream: Stream | None) -> None:
        await (await self._first("send")).send(messages, stream)

    async def newest(self, key: str) -> tuple[EntryId, str]:
        return await (await self._first("newest")).newest(key)

    async def oldest(self, key: str) -> tuple[EntryId, EntryId]:
        return await (await self._first("oldest")).oldest(key)

    async def remove(self, key: str) -> None:
        await (await self._first("remove")).remove(key)

    async def trim(self, key: str, first: EntryId) -> None:
        await (await self._first("trim")).trim(key, first)

    async def read(self, offsets: Mapping[str, EntryId], watch: str | None, count: int, block_ms: int) -> Reading:
        return await (await self._first("read")).read(offsets, watch, count, block_ms)

    def listen(self, patterns: Sequence[str]) -> AsyncGenerator[tuple[str, bytes] | None, None]:
        return self._link.listen(patterns)

    async def publish(self, topic: str, payload: bytes) -> None:
        await (await self._first("publish")).publish(topic, payload)

    async def get(self, key: str) -> bytes | None:
        return await (await self._first("get")).get(key)

    async def put_field(self, key: str, field: str, value: str) -> None:
        await (await self._first("put_field")).put_field(key, field, value)

    async def fields(self, key: str) -> dict[str, str]:
        return await (await self._first("fields")).fields(key)

    async def close(self) -> None:
        await self._link.close()


class Quiet:
    """A component that has nothing to answer: the tests speak for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def on_event(self, event: Contract) -> Sequence[Contract]:
        return ()


class Dropped:
    """Counts broadcasts that nobody got."""

    count = 0.0

    def inc(self, amount: float) -> None:
        self.count += amount


class FixedClock:
    """A clock that stands."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ns(self) -> int:
        return self._now_ms * 1_000_000


def intent(n: int) -> OrderIntent:
    return OrderIntent("s", "BTC/USDT", "buy", "market", 1.0, intent_id=f"i{n}", ts_local_ns=n)


class Producer:
    """One copy of a daemon, as its service drives it."""

    def __init__(
        self,
        folder: Path,
        client: Redis | None = None,
        *,
        now_ms: int = 1_000,
        url: str = "redis://fake",
        timeout_s: float = 5.0,
        name: str = NAME,
        time_s: Callable[[], float] | None = None,
        draw: Draw = unspread,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.name = name
        self.path = folder / f"{name}.ndjson"
        self.host = ComponentHost(Quiet(name), JournalSet(folder / "journals"), Ledger(self.path, durable=False))
        self.host.recover()
        self.link = MeddledLink(RedisLink(url, client=client, timeout_s=timeout_s))
        self.bus = Bus(url, link=self.link)
        self.stopping = asyncio.Event()
        self.dropped = Dropped()
        clock = FixedClock(now_ms)
        self.relay = Relay(
            self.host, self.bus, self.stopping, self.dropped, waits=True, clock=clock, draw=draw, time_s=time_s
        )

    def record(self, count: int = 1) -> list[Message]:
        """Answer so many intents; they are in the ledger and were not sent."""
        out: list[Message] = []
        for _ in range(count):
            out += self.host.publish([intent(self.host.newest_entry[0] + 1)])
        self.host.commit()
        return out

    async def say(self, count: int = 1) -> None:
        """Answer so many intents and relay them."""
        await self.relay.send(self.record(count))

    @property
    def entries(self) -> list[EntryId]:
        """What the ledger says that the stream has to have."""
        return [message.entry for message in ledger.messages_after(self.path, self.name, (0, 0))]

    def close(self) -> None:
        self.host.close()


class Consumer:
    """Follows the stream, one reading at a time."""

    def __init__(self, name: str, client: Redis | None = None, *, url: str = "redis://fake") -> None:
        self.name = name
        self._link = RedisLink(url, client=client)
        self.bus = Bus(url, link=self._link)
        self._now = 0.0
        self.taken: list[EntryId] = []
        self._cursors = StreamCursors({KEY: (0, 0)})

    async def forget(self) -> None:
        """Lose the ledger: nothing was processed."""
        self.taken.clear()
        self._cursors = StreamCursors({KEY: (0, 0)})

    @property
    def at(self) -> EntryId:
        return self.taken[-1] if self.taken else (0, 0)

    async def take(self, count: int = 256) -> int:
        """One reading; returns how many streams showed a hole."""
        self._now += 10.0
        reading = await self._link.read(self._cursors.due(self._now), None, count, 1)
        self.taken += [entry.id for entry in reading.entries if self._cursors.advance(entry)]
        return self._cursors.settle(self._now)

    async def tell(self) -> None:
        """Publish the position."""
        await self.bus.publish_offsets(self.name, {NAME: self.at})


async def go_back(client: Redis, share: float) -> None:
    """Let the server come back with the first part of the stream only, as from an older copy of its files."""
    kept: Any = await client.xrange(KEY)
    await client.delete(KEY)
    for place, fields in kept[: int(len(kept) * share)]:
        await client.xadd(KEY, fields, id=place)


async def stream_of(client: Redis) -> list[Entry]:
    """What the server has of the stream."""
    link = RedisLink("redis://fake", client=client)
    return list((await link.read({KEY: (0, 0)}, None, 100_000, 1)).entries)
