"""A server that refuses, bytes that are no text, silence and floods: a bus lives through them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from core.bus import Bus, Inbox, MemoryBus, Subscription
from core.bus import redis as redis_bus
from core.bus.protocol import STREAM_LIMIT
from core.component import Message, Unreadable
from core.contracts import OrderIntent, TradeEvent
from core.errors import BusUnavailableError
from core.tasks import end_tasks
from tests.support.redis_server import RedisServer
from tests.support.relay_bench import Consumer, Producer
from tests.support.waiting import other_tasks, patience, until, within

TIMEOUT_S = 0.8


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
        assert (await bus.newest("strategy_runner"))[0] == (count, 0)
        await bus.close()


async def test_a_flood_of_broadcasts_does_not_keep_ledger_entries_from_being_read() -> None:
    inbox = Inbox()
    for n in range(STREAM_LIMIT + 10):
        inbox.put(trade(n))
    await asyncio.wait_for(inbox.room(), patience(1))
    for n in range(1, STREAM_LIMIT + 2):
        inbox.put(intent(n))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(inbox.room(), 0.01)


async def test_a_channel_that_is_no_text_is_set_aside_and_reading_goes_on(redis_url: str) -> None:
    bus = Bus(redis_url)
    stream = bus.consume(Subscription(("md.trades.*",)))
    first = asyncio.ensure_future(anext(stream))
    await asyncio.wait_for(bus.connected.wait(), patience(5))
    await bus.client.publish(b"md.trades.\xff\xfe", b"{}")
    await bus.publish([trade(1)])
    got = await first
    while len(got) < 2:
        got += await asyncio.wait_for(anext(stream), patience(5))
    assert isinstance(got[0].event, Unreadable)
    assert got[1] == trade(1)
    await stream.aclose()
    await bus.close()


async def test_silence_is_no_loss(redis_url: str) -> None:
    bus = Bus(redis_url, timeout_s=TIMEOUT_S)
    stream = bus.consume(Subscription(("md.trades.*",), {"strategy_runner": (0, 0)}))
    first = asyncio.ensure_future(anext(stream))
    await asyncio.wait({first}, timeout=1.5 * TIMEOUT_S)
    assert bus.reconnects == 0
    await bus.publish([trade(1)])
    assert await asyncio.wait_for(first, patience(5)) == [trade(1)]
    await stream.aclose()
    await bus.close()


async def test_a_plain_payload_on_a_topic_of_nobody_reaches_plain_subscribers_in_memory_too() -> None:
    bus = MemoryBus()
    stream = bus.subscribe("telemetry.*")
    await bus.publish_json("telemetry.heartbeat", {"daemon": "x"})
    assert await asyncio.wait_for(anext(stream), patience(1)) == {"daemon": "x"}
    await stream.aclose()


async def test_a_server_killed_between_two_syncs_gets_back_what_it_forgot(tmp_path: Path) -> None:
    with RedisServer(args=("--appendonly", "yes", "--appendfsync", "everysec")) as server:
        producer = Producer(tmp_path, url=server.url)
        reader = Consumer("risk_engine", url=server.url)
        await producer.relay.connect()
        for round_ in range(3):
            await producer.say(50)
            server.kill()
            if round_ == 1:
                cut_short(server.directory)
            await asyncio.to_thread(server.start)
            await producer.say(1)
            while reader.at != producer.host.newest_entry:
                with suppress(BusUnavailableError):
                    await reader.take()
                    await reader.tell()
                    await producer.relay.maintain()
        assert reader.taken == producer.entries
        producer.close()
        await producer.bus.close()
        await reader.bus.close()


def cut_short(directory: Path) -> None:
    """Take the end off what the server kept, as a machine does that loses power."""
    newest = max((directory / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_size)
    with newest.open("r+b") as file:
        file.truncate(newest.stat().st_size * 3 // 4)


async def test_a_server_that_stands_still_is_waited_for_and_costs_nothing(tmp_path: Path) -> None:
    with RedisServer() as server:
        producer, reader = Producer(tmp_path, url=server.url, timeout_s=0.3), Bus(server.url, timeout_s=0.3)
        await producer.relay.connect()
        stream = reader.consume(Subscription(("md.trades.*",), {"strategy_runner": (0, 0)}))
        await producer.say(1)
        got = await asyncio.wait_for(anext(stream), patience(5))
        server.stop_now()
        saying = asyncio.ensure_future(producer.say(3))
        await until(lambda: reader.reconnects)
        assert not saying.done()
        server.resume()
        await asyncio.wait_for(saying, patience(10))
        while len(got) < 4:
            got += await asyncio.wait_for(anext(stream), patience(10))
        assert [message.entry for message in got] == producer.entries
        await stream.aclose()
        producer.close()
        await producer.bus.close()
        await reader.close()


@pytest.mark.parametrize("state", ["answering", "frozen", "gone", "back"])
async def test_a_consumer_ends_within_seconds_whatever_state_the_server_is_in(state: str) -> None:
    with RedisServer() as server:
        bus = Bus(server.url)
        stream = bus.consume(Subscription(("md.trades.*",), {"strategy_runner": (0, 0)}, "the:key"))
        taking = asyncio.ensure_future(anext(stream, None))
        await asyncio.wait_for(bus.connected.wait(), patience(5))
        if state == "frozen":
            server.stop_now()
        elif state in ("gone", "back"):
            server.kill()
            await until(lambda: bus.reconnects)
        if state == "back":
            await asyncio.to_thread(server.start)
        async with within(6):
            bus.end_subscriptions()
            assert await taking is None
            await stream.aclose()
            await bus.close()


async def test_a_cancellation_that_gets_lost_is_repeated() -> None:
    async def deaf_once() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf_once())
    await other_tasks()
    async with within(1):
        await end_tasks([task])
    assert task.cancelled()


async def test_a_reader_that_swallows_its_cancellation_keeps_nobody_waiting(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(redis_bus, "end_tasks", partial(end_tasks, timeout_s=0.2))
    bus, forever = Bus(redis_url), asyncio.Event()

    async def stubborn(*_: object) -> None:
        while not forever.is_set():
            with suppress(asyncio.CancelledError):
                await forever.wait()

    monkeypatch.setattr(bus, "_read_broadcasts", stubborn)
    stream = bus.consume(Subscription(("md.trades.*",)))
    taking = asyncio.ensure_future(anext(stream, None))
    await other_tasks()
    async with within(2):
        bus.end_subscriptions()
        assert await taking is None
    assert "did not end within" in caplog.text
    forever.set()
    await bus.close()


async def test_who_follows_a_topic_hears_of_it_again_after_a_loss() -> None:
    with RedisServer() as server:
        sender, receiver = Bus(server.url), Bus(server.url)
        stream = receiver.follow("controller.reload")
        for _ in range(2):
            heard = asyncio.ensure_future(anext(stream))
            async with within(5):
                while not heard.done():
                    with suppress(BusUnavailableError):
                        await sender.publish_json("controller.reload", {"now": True})
                    await asyncio.wait({heard}, timeout=0.02)
            assert heard.result() == {"now": True}
            server.kill()
            await asyncio.to_thread(server.start)
        await stream.aclose()
        await sender.close()
        await receiver.close()
