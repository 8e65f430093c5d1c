"""The ends of the ledger hop, each a process of its own: ``python -m benchmarks.ledger_roles NAME URL …``.

They are asked as those of ``benchmarks.roles`` are. Every lane carries the same intents: through ledger, relay and
host; through the bus alone; as bare bytes by XADD and XREAD, and by PUBLISH. ``go COUNT 0`` sends as fast as it goes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from zlib import crc32

from redis.asyncio import Redis

from benchmarks.roles import Arrivals, answer, bare_arrivals, now, orders, paced, serve_arrivals, trade
from benchmarks.workload import SYMBOL
from core import codec
from core.bus import Subscription
from core.bus.protocol import wire_bytes
from core.component import Message
from core.contracts import Contract, OrderIntent, TradeEvent

PRODUCER: Final = "strategy_runner"
CONSUMER: Final = "risk_engine"
TOPIC: Final = "strat.intent"
BATCH: Final = 512  # what the service of a feed takes between two commits, for the lanes without it
_BUS_PREFIX: Final = "bench-bus"
_ANSWER_S: Final = 60.0  # a server that a busy machine keeps waiting is no failure of a benchmark
_BARE_STREAM: Final = "bench:stream"
_BARE_TOPIC: Final = "bench.intents"
_READ: Final = 256  # entries read at once, as ``RedisBus`` does
_LEDGER: Final = "0123456789abcdef"
T = TypeVar("T")


def intent(number: int, ts: int) -> OrderIntent:
    """One intent, named by its number."""
    return OrderIntent("bench", SYMBOL, "buy" if number % 2 else "sell", "limit", 0.001, 60_000.0, f"i-{number}", ts)


def message(number: int) -> Message:
    """It as an entry of the producer's stream."""
    entry, prev = (number, 0), (number - 1, 0) if number > 1 else (0, 0)
    return Message(TOPIC, intent(number, trade(number).ts), PRODUCER, number, entry, prev, _LEDGER)


class Intents:
    """Answers every trade with an intent."""

    name = PRODUCER

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """One intent a trade."""
        return (intent(int(event.trade_id), event.ts),) if isinstance(event, TradeEvent) else ()


class Noting:
    """Notes when an intent reaches the component, and answers nothing."""

    name = CONSUMER

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """Takes intents."""
        if isinstance(event, OrderIntent):
            self._arrivals.note(now(), event.intent_id.encode())
        return ()


async def batches(count: int, gap_us: int) -> AsyncIterator[int]:
    """The number of messages to send at once: one each gap, or as many as a batch holds without one."""
    if gap_us:
        async for _ in paced(count, gap_us):
            yield 1
        return
    while count > 0:
        yield min(count, BATCH)
        count -= BATCH


def _host(component: Any, folder: Path) -> Any:
    from core.ledger import Ledger
    from core.service.host import ComponentHost, JournalSet

    book = Ledger(folder / "ledgers" / f"{component.name}.ndjson")
    return ComponentHost(component, JournalSet(folder / "journals" / component.name), book)


async def ledger_source(url: str, folder: str, prefix: str) -> None:
    """Trades into a service whose component answers each with an intent: commit with fdatasync, then relay."""
    from core.bus import RedisBus
    from core.service.daemon import Service
    from core.service.feed_source import Source
    from core.service.settings import ServiceSettings

    async def events() -> AsyncIterator[Contract]:
        answer("ready")
        created = 0
        async for words in orders():
            sent: list[int] = []
            total = 0
            async for size in batches(int(words[1]), int(words[2])):
                for _ in range(size):
                    created += 1
                    event = trade(created)
                    total = crc32(f"i-{created}".encode(), total)
                    sent.append(now())
                    yield event
            answer((sent, total))

    host = _host(Intents(), Path(folder))
    bus = RedisBus(url, prefix=prefix, timeout_s=_ANSWER_S)
    await Service(host, bus, ServiceSettings(port=None), source=Source(events())).run()


async def ledger_sink(url: str, folder: str, prefix: str) -> None:
    """``take COUNT``: when the intents reached the component behind the consumer's service."""
    from core.bus import RedisBus
    from core.service.daemon import Service
    from core.service.settings import ServiceSettings

    arrivals = Arrivals()
    bus = RedisBus(url, prefix=prefix, timeout_s=_ANSWER_S)
    service = Service(_host(Noting(arrivals), Path(folder)), bus, ServiceSettings(port=None))
    serving = asyncio.ensure_future(service.run())
    await bus.connected.wait()
    answer("ready")
    async for words in orders():
        answer(await arrivals.take(int(words[1])))
    service.stop()
    await serving


async def bus_source(url: str) -> None:
    """Entries by ``RedisBus.publish``: the transport without a ledger."""
    from core.bus import RedisBus

    bus = RedisBus(url, prefix=_BUS_PREFIX, timeout_s=_ANSWER_S)
    await bus.ping()
    await bus.claim(PRODUCER, 1)

    await _serve_source(message, bus.publish)


async def bus_sink(url: str) -> None:
    """``take COUNT``: when ``RedisBus.consume`` handed the intents over, typed."""
    from core.bus import RedisBus

    arrivals = Arrivals()
    bus = RedisBus(url, prefix=_BUS_PREFIX, timeout_s=_ANSWER_S)

    async def receive() -> None:
        async for batch in bus.consume(Subscription(streams={PRODUCER: (0, 0)})):
            at = now()
            for message in batch:
                assert isinstance(message.event, OrderIntent)
                arrivals.note(at, message.event.intent_id.encode())

    await bus.ping()
    answer("ready")
    await serve_arrivals(arrivals, receive())


async def stream_source(url: str) -> None:
    """Entries by bare XADD of the same bytes under explicit ids."""
    client = Redis.from_url(url)
    await client.ping()

    async def send(prepared: Sequence[tuple[int, bytes]]) -> None:
        pipeline = client.pipeline(transaction=False)
        for number, payload in prepared:
            pipeline.xadd(_BARE_STREAM, {"t": TOPIC, "e": payload}, id=f"{number}-0")
        await pipeline.execute()

    await _serve_source(lambda number: (number, wire_bytes(message(number))), send)


async def stream_sink(url: str) -> None:
    """``take COUNT``: when bare XREAD gave the entries."""
    arrivals = Arrivals()
    client = Redis.from_url(url)

    async def receive() -> None:
        last = b"0-0"
        while True:
            replies: Any = await client.xread({_BARE_STREAM: last}, count=_READ, block=1_000)
            at = now()
            for _, entries in replies or ():
                for place, _ in entries:
                    last = place
                    arrivals.note(at, b"i-" + place.partition(b"-")[0])

    await client.ping()
    answer("ready")
    await serve_arrivals(arrivals, receive())


async def publish_source(url: str) -> None:
    """The same bytes by bare PUBLISH."""
    client = Redis.from_url(url)
    await client.ping()

    async def send(payloads: Sequence[bytes]) -> None:
        pipeline = client.pipeline(transaction=False)
        for payload in payloads:
            pipeline.publish(_BARE_TOPIC, payload)
        await pipeline.execute()

    await _serve_source(lambda number: wire_bytes(message(number)), send)


async def publish_sink(url: str) -> None:
    """``take COUNT``: when the bytes came."""
    arrivals = Arrivals()
    client = Redis.from_url(url)
    await serve_arrivals(arrivals, bare_arrivals(client, _BARE_TOPIC, arrivals, lambda: answer("ready"), _named))


def _named(payload: bytes) -> bytes:
    intent_id: str = codec.decode_plain(payload)["intent_id"]
    return intent_id.encode()


async def _serve_source(prepare: Callable[[int], T], send: Callable[[list[T]], Awaitable[None]]) -> None:
    """``go COUNT GAP_US``, a batch at a time, each prepared before its clock starts."""
    answer("ready")
    prepared_count = 0
    async for words in orders():
        sent: list[int] = []
        total = 0
        async for size in batches(int(words[1]), int(words[2])):
            numbers = range(prepared_count + 1, prepared_count + size + 1)
            prepared_count += size
            prepared = [prepare(number) for number in numbers]
            sent += [now()] * size
            await send(prepared)
            for number in numbers:
                total = crc32(f"i-{number}".encode(), total)
        answer((sent, total))


ROLES: Final[dict[str, Callable[..., Any]]] = {
    "ledger_source": ledger_source,
    "ledger_sink": ledger_sink,
    "bus_source": bus_source,
    "bus_sink": bus_sink,
    "stream_source": stream_source,
    "stream_sink": stream_sink,
    "publish_source": publish_source,
    "publish_sink": publish_sink,
}

if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](*sys.argv[2:]))
