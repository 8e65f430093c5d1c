"""The ends of the hop and of the chain, each a process of its own: ``python -m benchmarks.roles NAME URL …``.

Times are of the monotonic clock, which all processes of a machine share. Senders answer ``go COUNT GAP_US`` with the
times of sending, receivers answer ``take COUNT`` with the times of arrival, once so many have come.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from redis.asyncio import Redis

from benchmarks.workload import SYMBOL
from core import codec
from core.bus import Subscription
from core.bus.protocol import wire_bytes
from core.component import Message
from core.contracts import Contract, OrderEvent, TradeEvent

BARE: Final = "bench.bare"
TAKE_TIMEOUT_S: Final = 20.0
_PRODUCER: Final = "md_ingest"
now: Final = time.monotonic_ns


def trade(number: int, ts: int = 0) -> TradeEvent:
    """One trade of a stream whose price moves a little."""
    ts = ts or time.time_ns()
    return TradeEvent(SYMBOL, 60_000.0 + number % 7, 0.01, "buy", ts, str(number), "bench", ts)


async def orders() -> AsyncIterator[list[str]]:
    """The lines of stdin, as words."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield line.decode().split()


def answer(value: Any) -> None:
    """One line to whoever asks."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


async def paced(count: int, gap_us: int) -> AsyncIterator[int]:
    """Numbers from 0, one each so many microseconds; late ones do not come in a burst."""
    gap_s = gap_us / 1e6
    for number in range(count):
        yield number
        await asyncio.sleep(gap_s)


class Arrivals:
    """The times of messages, and a sum over their contents."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.sum = 0
        self._came = asyncio.Event()

    def note(self, at_ns: int, payload: bytes) -> None:
        """One came."""
        self.times.append(at_ns)
        self.sum = crc32(payload, self.sum)
        self._came.set()

    async def take(self, count: int) -> tuple[list[int], int]:
        """Times and sum of the next ``count``, fewer when they do not come; starts counting anew."""
        deadline = now() + int(TAKE_TIMEOUT_S * 1e9)
        while len(self.times) < count and now() < deadline:
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), 0.5)
            except TimeoutError:
                continue
        taken = self.times, self.sum
        self.times, self.sum = [], 0
        return taken


async def serve_arrivals(arrivals: Arrivals, receiving: Awaitable[None]) -> None:
    """Receive and answer ``take`` until stdin closes."""
    task = asyncio.ensure_future(receiving)
    async for words in orders():
        answer(await arrivals.take(int(words[1])))
    task.cancel()


async def bare_arrivals(
    client: Redis,
    topic: str,
    arrivals: Arrivals,
    ready: Callable[[], None],
    key: Callable[[bytes], bytes] = lambda payload: payload,
) -> None:
    """What redis-py hands over; ``what`` of it is summed up."""
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(topic)
        while True:
            message = await pubsub.get_message(timeout=None)
            if message is None:
                continue
            if message["type"] == "subscribe":
                ready()
            else:
                arrivals.note(now(), key(message["data"]))


async def hop_sender(url: str) -> None:
    """``go COUNT GAP_US``: each trade once through our bus and once bare, taking turns."""
    from core.bus import RedisBus

    bus, client = RedisBus(url), Redis.from_url(url)
    await asyncio.gather(bus.ping(), client.ping())
    answer("ready")
    async for words in orders():
        ours: list[int] = []
        bare: list[int] = []
        total = 0
        async for number in paced(2 * int(words[1]), int(words[2]) // 2):
            message = Message(f"md.trades.{SYMBOL}", trade(number // 2), _PRODUCER, number // 2 + 1)
            payload = wire_bytes(message)
            if number % 2 == 0:
                total = crc32(codec.encode(message.event), total)
                ours.append(now())
                await bus.publish([message])
            else:
                bare.append(now())
                await client.publish(BARE, payload)
        answer({"ours": ours, "bare": bare, "sum": total})


async def hop_receiver(url: str) -> None:
    """``take COUNT``: when the trades came, through our bus and bare."""
    from core.bus import RedisBus

    bus, client = RedisBus(url), Redis.from_url(url)
    ours, bare = Arrivals(), Arrivals()
    subscribed = asyncio.Event()

    async def typed() -> None:
        async for batch in bus.consume(Subscription(("md.trades.*",))):
            at = now()
            for message in batch:
                ours.note(at, b"")
                ours.sum = crc32(codec.encode(message.event), ours.sum)

    tasks = [
        asyncio.create_task(typed()),
        asyncio.create_task(bare_arrivals(client, BARE, bare, subscribed.set)),
    ]
    await asyncio.gather(bus.connected.wait(), subscribed.wait())
    answer("ready")
    async for words in orders():
        count = int(words[1])
        (our_times, total), (bare_times, _) = await ours.take(count), await bare.take(count)
        answer({"ours": our_times, "bare": bare_times, "sum": total})
    for task in tasks:
        task.cancel()


async def bare_source(url: str, topic: str) -> None:
    """``go COUNT GAP_US``: trades as bytes."""
    client = Redis.from_url(url)
    await client.ping()
    answer("ready")
    async for words in orders():
        sent: list[int] = []
        total = 0
        async for number in paced(int(words[1]), int(words[2])):
            sent.append(now())
            payload = wire_bytes(Message("", trade(number), _PRODUCER, number + 1))
            total = crc32(payload, total)
            await client.publish(topic, payload)
        answer((sent, total))


async def bare_forward(url: str, source: str, target: str) -> None:
    """Hands the bytes of one topic on to another."""
    client = Redis.from_url(url)
    async with client.pubsub() as pubsub:
        await pubsub.subscribe(source)
        while True:
            message = await pubsub.get_message(timeout=None)
            if message is None:
                continue
            if message["type"] == "subscribe":
                answer("ready")
            else:
                await client.publish(target, message["data"])


async def bare_sink(url: str, topic: str) -> None:
    """``take COUNT``: when the bytes came."""
    arrivals = Arrivals()
    client = Redis.from_url(url)
    await serve_arrivals(arrivals, bare_arrivals(client, topic, arrivals, lambda: answer("ready")))


async def md_source(url: str, folder: str) -> None:
    """``go COUNT GAP_US``: trades into the market data daemon's own service."""
    from apps.md_ingest.main import build
    from benchmarks.workload import bench_config
    from core.bus import RedisBus
    from core.service.daemon import Service
    from core.service.feed_source import Source
    from core.service.host import ComponentHost
    from core.service.launch import open_journals
    from core.service.settings import ServiceSettings

    config = bench_config(Path(folder))

    async def events() -> AsyncIterator[Contract]:
        answer("ready")
        created = 0
        async for words in orders():
            sent: list[int] = []
            total = 0
            async for _ in paced(int(words[1]), int(words[2])):
                created += 1
                event = trade(created)
                sent.append(now())
                total = crc32(event.trade_id.encode(), total)
                yield event
            answer((sent, total))

    host = ComponentHost(build(config), open_journals(config))
    await Service(host, RedisBus(url), ServiceSettings(), source=Source(events())).run()


async def order_sink(url: str) -> None:
    """``take COUNT``: when accepted orders came off the risk engine's stream, as the paper trader gets them."""
    from core.bus import RedisBus

    arrivals = Arrivals()
    bus = RedisBus(url)

    async def receive() -> None:
        async for batch in bus.consume(Subscription(streams={"risk_engine": (0, 0)})):
            at = now()
            for message in batch:
                if isinstance(message.event, OrderEvent):
                    arrivals.note(at, str(message.event.meta["trade"]).encode())

    await bus.ping()
    answer("ready")
    await serve_arrivals(arrivals, receive())


ROLES: Final[dict[str, Callable[..., Any]]] = {
    "hop_sender": hop_sender,
    "hop_receiver": hop_receiver,
    "bare_source": bare_source,
    "bare_forward": bare_forward,
    "bare_sink": bare_sink,
    "md_source": md_source,
    "order_sink": order_sink,
}

if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](*sys.argv[2:]))
