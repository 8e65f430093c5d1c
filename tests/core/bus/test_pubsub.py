"""One conformance suite for every bus: memory, fakeredis, and the real servers that are installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from fakeredis import FakeAsyncRedis, FakeServer

from core.bus import Bus, MemoryBus, Subscription
from core.component import Message, Unreadable
from core.contracts import OrderIntent, TradeEvent
from core.errors import BusGapError, BusUnavailableError
from tests.support.redis_server import RedisServer, spare_port
from tests.support.topic_tables import SECOND, TWO_PRODUCERS, topic_table
from tests.support.waiting import other_tasks, patience

AnyBus = Bus | MemoryBus
Connect = Callable[[], AnyBus]


def trade(n: int) -> Message:
    event = TradeEvent("BTC/USDT", 100.0 + n, 1.0, "buy", 1_000 + n, str(n))
    return Message("md.trades.BTC/USDT", event, "md_ingest", n)


def intent(n: int) -> Message:
    event = OrderIntent("s", "BTC/USDT", "buy", "market", 1.0, intent_id=f"i{n}", ts_local_ns=n)
    return Message("strat.intent", event, "strategy_runner", n, (n, 0), (n - 1, 0) if n > 1 else (0, 0), "a ledger")


@pytest.fixture(params=["memory", "fakeredis", "real"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """A function that gives one more connection to the same bus."""
    opened: list[AnyBus] = []
    if request.param == "memory":
        bus = MemoryBus()
        opened.append(bus)
        yield lambda: bus
    else:
        server = FakeServer()
        url = "redis://fake" if request.param == "fakeredis" else request.getfixturevalue("redis_url")

        def make() -> AnyBus:
            client = FakeAsyncRedis(server=server) if request.param == "fakeredis" else None
            opened.append(Bus(url, client=client))
            return opened[-1]

        yield make
    for each in opened:
        await each.close()


async def ready(bus: AnyBus) -> None:
    if isinstance(bus, Bus):
        await asyncio.wait_for(bus.connected.wait(), patience(5))


async def collect(bus: AnyBus, wanted: Subscription, count: int, started: asyncio.Event | None = None) -> list[Message]:
    got: list[Message] = []
    stream = bus.consume(wanted)

    async def run() -> None:
        async for batch in stream:
            got.extend(batch)
            if len(got) >= count:
                return

    task = asyncio.create_task(run())
    await ready(bus)
    if started is not None:
        started.set()
    await asyncio.wait_for(task, patience(10))
    await stream.aclose()
    return got


async def test_a_payload_arrives_as_it_was_published(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    stream = receiver.subscribe("md.trades.*")
    first: asyncio.Task[dict[str, Any]] = asyncio.ensure_future(anext(stream))
    payload = trade(1).event.to_dict()
    while not first.done():
        await sender.publish_json("md.trades.BTC/USDT", payload)
        await asyncio.wait({first}, timeout=0.02)
    assert first.result() == payload
    await stream.aclose()


async def test_broadcasts_arrive_typed_in_order_with_their_sequence(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    sent = [trade(n) for n in range(1, 51)]
    started = asyncio.Event()
    receiving = asyncio.create_task(collect(receiver, Subscription(("md.trades.*",)), 50, started))
    await started.wait()
    await sender.publish(sent)
    assert await receiving == sent


async def test_a_stream_is_read_from_the_entry_behind_the_last_processed(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    await sender.claim("strategy_runner", 1)
    await sender.publish([intent(n) for n in range(1, 11)])
    got = await collect(receiver, Subscription((), {"strategy_runner": (4, 0)}), 6)
    assert [m.entry[0] for m in got] == [5, 6, 7, 8, 9, 10]
    assert got[0] == intent(5)


async def test_each_producer_of_a_topic_has_a_stream_of_its_own_and_none_hides_the_other(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    ours = [intent(n) for n in range(1, 6)]
    theirs = [message._replace(producer=SECOND, ledger="another ledger") for message in ours]
    with topic_table(TWO_PRODUCERS):
        for producer, messages in (("strategy_runner", ours), (SECOND, theirs)):
            await sender.claim(producer, 1)
            await sender.publish(messages)
        received = await collect(receiver, Subscription((), {"strategy_runner": (2, 0), SECOND: (4, 0)}), 4)

    assert [message for message in received if message.producer == "strategy_runner"] == ours[2:]
    assert [message for message in received if message.producer == SECOND] == theirs[4:]


async def test_an_entry_of_a_daemon_that_does_not_produce_its_topic_cannot_be_read() -> None:
    server = FakeServer()
    sender, receiver = (Bus("redis://fake", client=FakeAsyncRedis(server=server)) for _ in range(2))
    await sender.claim("paper_trader", 1)
    await sender.publish([intent(1)._replace(producer="paper_trader")])

    (message,) = await collect(receiver, Subscription((), {"paper_trader": (0, 0)}), 1)

    assert isinstance(message.event, Unreadable)
    assert message.event.reason == "strat.intent comes from strategy_runner, not from paper_trader"


async def test_an_entry_sent_twice_is_in_the_stream_once(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    await sender.claim("strategy_runner", 1)
    await sender.publish([intent(1), intent(2)])
    await sender.publish([intent(1), intent(2), intent(3)])
    got = await collect(receiver, Subscription((), {"strategy_runner": (0, 0)}), 3)
    assert [m.entry[0] for m in got] == [1, 2, 3]


async def test_an_entry_says_what_came_before_it_and_which_ledger_it_is_from(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    await sender.claim("strategy_runner", 1)
    await sender.publish([intent(1), intent(2)])
    got = await collect(receiver, Subscription((), {"strategy_runner": (0, 0)}), 2)
    assert [(m.entry, m.prev, m.ledger) for m in got] == [((1, 0), (0, 0), "a ledger"), ((2, 0), (1, 0), "a ledger")]


@pytest.mark.parametrize("lacking", [[2], [1, 3], [1, 2, 4]])
async def test_a_hole_is_refused_and_nothing_of_the_batch_is_sent(connect: Connect, lacking: list[int]) -> None:
    sender, receiver = connect(), connect()
    await sender.claim("strategy_runner", 1)
    with pytest.raises(BusGapError, match=f"before {lacking[-1]}-0"):
        await sender.publish([trade(1), *[intent(n) for n in lacking]])
    await sender.publish([intent(1)])
    stream = receiver.consume(Subscription((), {"strategy_runner": (0, 0)}))
    assert await asyncio.wait_for(anext(stream), patience(5)) == [intent(1)]
    await stream.aclose()


async def test_entries_of_another_ledger_do_not_follow_those_that_are_there(connect: Connect) -> None:
    sender = connect()
    await sender.claim("strategy_runner", 1)
    await sender.publish([intent(1)])
    with pytest.raises(BusGapError):
        await sender.publish([intent(2)._replace(ledger="another")])
    await sender.publish([intent(2)])


async def test_a_stream_that_is_not_there_may_begin_where_its_producer_says(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    await sender.claim("strategy_runner", 1)
    with pytest.raises(BusGapError):
        await sender.publish([intent(6)], (4, 0))
    await sender.publish([intent(6), intent(7)], (5, 0))
    with pytest.raises(BusGapError):
        await sender.publish([intent(12)], (11, 0))
    got = await collect(receiver, Subscription((), {"strategy_runner": (5, 0)}), 2)
    assert got == [intent(6), intent(7)]


async def test_a_mixed_batch_is_published_in_its_order_and_what_is_there_already_not_again(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    await sender.claim("strategy_runner", 1)
    await sender.publish([intent(1)])
    stream = receiver.subscribe("*")
    first = asyncio.ensure_future(anext(stream))
    while not first.done():
        await sender.publish_json("here", {"n": 0})
        await asyncio.wait({first}, timeout=0.02)
    await sender.publish([trade(1), intent(1), intent(2), trade(2), intent(3)])
    got: list[object] = []
    while len(got) < 4:
        payload = await asyncio.wait_for(anext(stream), patience(5))
        if "n" not in payload:
            got.append(payload.get("trade_id") or payload["intent_id"])
    assert got == ["1", "i2", "2", "i3"]
    await stream.aclose()


async def test_entries_without_a_claim_are_a_mistake_of_the_program(redis_url: str) -> None:
    bus = Bus(redis_url)
    with pytest.raises(RuntimeError, match="claim"):
        await bus.publish([intent(1)])
    await bus.publish([trade(1)])
    await bus.close()


async def test_plain_subscribers_see_ledger_messages_too(connect: Connect) -> None:
    sender, receiver = connect(), connect()
    await sender.claim("strategy_runner", 1)
    stream = receiver.subscribe("strat.intent")
    first: asyncio.Task[dict[str, Any]] = asyncio.ensure_future(anext(stream))
    n = 0
    while not first.done():
        n += 1
        await sender.publish([intent(n)])
        await asyncio.wait({first}, timeout=0.02)
    assert first.result()["strategy_id"] == "s"
    await stream.aclose()


async def test_bytes_that_are_no_message_are_handed_on_as_unreadable(redis_url: str) -> None:
    bus, receiver = Bus(redis_url), Bus(redis_url)
    started = asyncio.Event()
    wanted = Subscription(("md.trades.*",), {"strategy_runner": (0, 0)})
    receiving = asyncio.create_task(collect(receiver, wanted, 4, started))
    await started.wait()
    await bus.client.publish("md.trades.BTC/USDT", b'{"symbol": "BTC/USDT", "price": NaN}')
    await bus.client.publish("md.trades.BTC/USDT", b'{"symbol":"BTC/USDT","pri')
    await bus.client.xadd(bus.stream_key("strategy_runner"), {"t": "strat.intent", "e": b'{"qty":-1}'}, id="1-0")
    await bus.publish([trade(1)])
    got = await receiving
    reasons = [m.event.reason for m in got if isinstance(m.event, Unreadable)]
    assert len(reasons) == 3
    assert [m.entry for m in got if m.entry != (0, 0)] == [(1, 0)]
    assert trade(1) in got
    await bus.close()
    await receiver.close()


async def test_a_slow_consumer_sheds_the_oldest_broadcasts_and_never_a_ledger_message() -> None:
    bus = MemoryBus(inbox_limit=10)
    stream = bus.consume(Subscription(("md.trades.*",), {"strategy_runner": (0, 0)}))
    await bus.publish([intent(1), *[trade(n) for n in range(1, 101)], intent(2)])
    batch = await anext(stream)
    assert [m.entry[0] for m in batch if m.entry != (0, 0)] == [1, 2]
    assert [m.seq for m in batch if m.entry == (0, 0)] == list(range(91, 101))
    assert bus.shed == 90
    await stream.aclose()


async def test_an_absent_server_is_named_with_the_remedy() -> None:
    url = f"redis://127.0.0.1:{spare_port()}/0"
    bus = Bus(url)
    with pytest.raises(BusUnavailableError, match=r"redis://127.*does not answer.*redis.url"):
        await bus.publish_json("md.clock", {"ts": 1})
    await bus.close()


async def test_a_consumer_goes_on_when_the_server_comes_back() -> None:
    with RedisServer(appendonly=True) as server:
        sender, receiver = Bus(server.url), Bus(server.url)
        await sender.claim("strategy_runner", 1)
        stream = receiver.consume(Subscription(("md.trades.*",), {"strategy_runner": (0, 0)}))
        await sender.publish([intent(1)])
        assert await anext(stream) == [intent(1)]
        server.kill()
        with pytest.raises(BusUnavailableError):
            await sender.publish([intent(2)])
        server.restart()
        await sender.publish([intent(1), intent(2)])
        assert await asyncio.wait_for(anext(stream), patience(10)) == [intent(2)]
        assert receiver.reconnects > 0
        await asyncio.wait_for(receiver.connected.wait(), patience(10))
        await sender.publish([trade(7)])
        assert await asyncio.wait_for(anext(stream), patience(10)) == [trade(7)]
        await sender.close()
        await stream.aclose()
        await receiver.close()


async def test_a_loss_between_two_messages_is_told_once_before_anything_follows_the_hole() -> None:
    with RedisServer() as server:
        sender = Bus(server.url)
        await sender.claim("strategy_runner", 1)
        await sender.publish([intent(1)])
        server.kill()
        await asyncio.to_thread(server.start)  # empty; meanwhile the loop sees the connection end

        with suppress(BusUnavailableError):
            await sender.get("somebody else's call may be the first to see it")
        with pytest.raises(BusUnavailableError):
            await sender.publish([intent(2)])

        assert (await sender.newest("strategy_runner"))[0] == (0, 0)
        await sender.publish([intent(1), intent(2)])
        assert (await sender.newest("strategy_runner"))[0] == (2, 0)
        await sender.close()


async def test_entries_sent_together_arrive_together(redis_url: str) -> None:
    sender, receiver = Bus(redis_url), Bus(redis_url)
    await sender.claim("strategy_runner", 1)
    stream = receiver.consume(Subscription((), {"strategy_runner": (0, 0)}))
    for start in range(1, 200, 4):  # a reader that waits is woken once, by all of them
        waiting = asyncio.ensure_future(anext(stream))
        await other_tasks()
        entries = [intent(n) for n in range(start, start + 4)]
        await sender.publish(entries)
        assert await asyncio.wait_for(waiting, patience(5)) == entries
    await stream.aclose()
    await sender.close()
    await receiver.close()


async def test_the_watched_key_is_what_it_was_after_the_entries_were_written(redis_url: str) -> None:
    sender, receiver = Bus(redis_url), Bus(redis_url)
    await sender.claim("strategy_runner", 1)
    stream = receiver.consume(Subscription((), {"strategy_runner": (0, 0)}, "the:key"))
    for number, value in enumerate(("1", "0", "1"), 1):
        waiting = asyncio.ensure_future(anext(stream))
        await sender.client.set("the:key", value)
        await sender.publish([intent(number)])
        assert await asyncio.wait_for(waiting, patience(5)) == [intent(number)]
        assert await receiver.get("the:key", max_age_s=60) == value
    await sender.client.set("the:key", "later")
    assert await receiver.get("the:key") == "later", "without an age it is asked for anew"
    assert await receiver.get("another", max_age_s=60) is None
    await stream.aclose()
    await sender.close()
    await receiver.close()
