"""A server that refuses, bytes that are no text, silence and floods: a bus lives through them."""

from __future__ import annotations

import asyncio

import pytest

from core.bus import Bus, MemoryBus, Subscription
from core.bus_protocol import STREAM_LIMIT, Inbox
from core.component import Message, Unreadable
from core.contracts import OrderIntent, TradeEvent
from core.errors import BusUnavailableError
from tests.redis_server import RedisServer


def trade(n: int) -> Message:
    return Message("md.trades.BTC/USDT", TradeEvent("BTC/USDT", 100.0, 1.0, "buy", 1_000 + n, str(n)), "md_ingest", n)


def intent(n: int) -> Message:
    event = OrderIntent("s", "BTC/USDT", "buy", "market", 1.0, intent_id=f"i{n}", ts_local_ns=n)
    return Message("strat.intent", event, "strategy_runner", n, (n, 0), (n - 1, 0) if n > 1 else (0, 0), "a ledger")


@pytest.mark.parametrize("count", [1, 3])
async def test_a_server_out_of_memory_is_waited_for_however_many_entries_it_refused(count: int) -> None:
    with RedisServer() as server:
        bus = Bus(server.url)
        await bus.claim("strategy_runner", 1)
        server.command("CONFIG SET maxmemory 1")
        with pytest.raises(BusUnavailableError, match="maxmemory"):
            await bus.publish([intent(n) for n in range(1, count + 1)])
        server.command("CONFIG SET maxmemory 0")
        await bus.publish([intent(n) for n in range(1, count + 1)])
        assert await bus.last_entry("strategy_runner") == (count, 0)
        await bus.close()


async def test_a_flood_of_broadcasts_does_not_keep_ledger_entries_from_being_read() -> None:
    inbox = Inbox()
    for n in range(STREAM_LIMIT + 10):
        inbox.put(trade(n))
    await asyncio.wait_for(inbox.room(), 1)
    for n in range(1, STREAM_LIMIT + 2):
        inbox.put(intent(n))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(inbox.room(), 0.01)


async def test_a_channel_that_is_no_text_is_set_aside_and_reading_goes_on(redis_url: str) -> None:
    bus = Bus(redis_url)
    stream = bus.consume(Subscription(("md.trades.*",)))
    first = asyncio.ensure_future(anext(stream))
    await asyncio.wait_for(bus.connected.wait(), 5)
    await bus.client.publish(b"md.trades.\xff\xfe", b"{}")
    await bus.publish([trade(1)])
    got = await first
    while len(got) < 2:
        got += await asyncio.wait_for(anext(stream), 5)
    assert isinstance(got[0].event, Unreadable)
    assert got[1] == trade(1)
    await stream.aclose()
    await bus.close()


async def test_silence_is_no_loss(redis_url: str) -> None:
    bus = Bus(redis_url, timeout_s=0.8)
    stream = bus.consume(Subscription(("md.trades.*",), {"strategy_runner": (0, 0)}))
    first = asyncio.ensure_future(anext(stream))
    await asyncio.wait({first}, timeout=1.2)
    assert bus.reconnects == 0
    await bus.publish([trade(1)])
    assert await asyncio.wait_for(first, 5) == [trade(1)]
    await stream.aclose()
    await bus.close()


async def test_a_plain_payload_on_a_topic_of_nobody_reaches_plain_subscribers_in_memory_too() -> None:
    bus = MemoryBus()
    stream = bus.subscribe("telemetry.*")
    await bus.publish_json("telemetry.heartbeat", {"daemon": "x"})
    assert await asyncio.wait_for(anext(stream), 1) == {"daemon": "x"}
    await stream.aclose()
