"""A consumer that is too slow costs broadcasts, counted, and neither memory nor what is in ledgers."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from core.bus import Bus, Inbox, Subscription
from core.bus.protocol import BATCH_LIMIT
from core.component import Message
from core.contracts import OrderIntent, TradeEvent
from tests.support.redis_server import RedisServer
from tests.support.waiting import patience, within


def trade(n: int) -> Message:
    return Message("md.trades.BTC/USDT", TradeEvent("BTC/USDT", 100.0, 1.0, "buy", 1_000 + n, str(n)), "md_ingest", n)


def intent(n: int) -> Message:
    event = OrderIntent("s", "BTC/USDT", "buy", "market", 1.0, intent_id=f"i{n}", ts_local_ns=n)
    return Message("strat.intent", event, "strategy_runner", n, (n, 0), (n - 1, 0) if n > 1 else (0, 0), "a ledger")


TRADE, INTENT = trade(1), intent(1)


async def test_a_consumer_a_hundred_times_too_slow_takes_every_intent_within_one_batch() -> None:
    inbox, number, came, taken = Inbox(limit=20_000), 0, 0, 0
    for _ in range(4):
        for _ in range(100 * BATCH_LIMIT):
            number += 1
            inbox.put(trade(number) if number % 1_000 else intent(number // 1_000))
        came = number // 1_000
        batch = await inbox.take()
        taken += sum(1 for message in batch if message.entry != (0, 0))
        assert taken == came
        assert len(inbox) <= 20_000
    left = 0
    while inbox:
        left += len(await inbox.take())
    broadcasts = number - came
    assert inbox.shed == broadcasts - (4 * BATCH_LIMIT - taken) - left


@given(st.lists(st.integers(0, 4), max_size=80), st.integers(1, 9))
def test_what_is_kept_stays_in_order_and_what_is_not_is_counted(moves: list[int], limit: int) -> None:
    async def run() -> None:
        inbox, model, number, shed = Inbox(limit), list[Message](), 0, 0
        for move in moves:
            if move == 0:
                if model:
                    assert await inbox.take() == model  # fewer than a batch wait: nothing overtakes
                    model.clear()
                continue
            number += 1
            model.append(trade(number) if move > 1 else intent(number))
            inbox.put(model[-1])
            waiting = [message for message in model if message.entry == (0, 0)]
            if len(waiting) > limit:
                model.remove(waiting[0])
                shed += 1
            assert (len(inbox), inbox.shed) == (len(model), shed)

    asyncio.run(run())


async def test_what_a_consumer_had_no_time_for_comes_again_behind_the_intents_that_arrived_meanwhile() -> None:
    inbox = Inbox(limit=4)
    for message in (trade(1), intent(1), trade(2), intent(2), trade(3)):
        inbox.put(message)
    batch = await inbox.take()
    inbox.put(intent(3))
    inbox.put_back(batch[1:])
    assert await inbox.take() == [intent(1), intent(2), intent(3), trade(2), trade(3)]

    for message in (trade(4), intent(4), trade(5)):
        inbox.put(message)
    batch = await inbox.take()
    inbox.put_back(batch)
    for number in (6, 7, 8, 9):
        inbox.put(trade(number))
    assert inbox.shed == 2
    assert await inbox.take() == [intent(4), trade(6), trade(7), trade(8), trade(9)]
    inbox.put(trade(10))
    inbox.put(intent(5))
    assert await inbox.take() == [trade(10), intent(5)], "whoever keeps up again gets everything in its order"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=40))
def test_whatever_is_put_back_intents_come_once_and_in_order_and_so_do_broadcasts(moves: list[tuple[int, int]]) -> None:
    async def run() -> None:
        inbox, put, got = Inbox(limit=1_000), list[Message](), list[Message]()
        for move, kept in [*moves, (0, 1_000)]:
            if move:
                put.append(trade(len(put)) if move > 1 else intent(len(put) + 1))
                inbox.put(put[-1])
            elif inbox:
                batch = await inbox.take()
                got += batch[:kept]
                inbox.put_back(batch[kept:])
        for of_ledger in (True, False):
            kind = [message for message in put if (message.entry != (0, 0)) is of_ledger]
            assert [message for message in got if (message.entry != (0, 0)) is of_ledger] == kind

    asyncio.run(run())


async def test_nothing_overtakes_while_the_consumer_keeps_up() -> None:
    inbox = Inbox()
    sent = [trade(1), intent(1), trade(2), trade(3), intent(2)]
    for message in sent:
        inbox.put(message)
    assert await inbox.take() == sent


async def test_shedding_costs_the_same_however_much_waits() -> None:
    inbox = Inbox(limit=50_000)
    for _ in range(50_000):
        inbox.put(INTENT)  # in front of every broadcast
    for _ in range(50_000):
        inbox.put(TRADE)
    began = perf_counter()
    for _ in range(50_000):
        inbox.put(TRADE)
    assert inbox.shed == 50_000
    assert perf_counter() - began < 2.0, "one by one through the intents it takes minutes"


async def test_a_subscriber_that_the_server_cut_off_comes_back_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(args=("--client-output-buffer-limit", "pubsub 64kb 32kb 1")) as server:
        sender, receiver = Bus(server.url), Bus(server.url)
        await receiver.get("a key")  # the connection that is not cut
        stream = receiver.consume(Subscription(("md.trades.*",)))
        first = asyncio.ensure_future(anext(stream))
        await asyncio.wait_for(receiver.connected.wait(), patience(5))
        _overrun(server.url)
        heard = await asyncio.wait_for(first, patience(5))
        following = asyncio.ensure_future(anext(stream))
        async with within(10):
            while trade(7) not in heard:
                await sender.publish([trade(7)])
                if (await asyncio.wait({following}, timeout=0.02))[0]:
                    heard += following.result()
                    following = asyncio.ensure_future(anext(stream))
        following.cancel()
        await asyncio.wait({following})
        assert receiver.cut_off == 1
        assert receiver.reconnects == 0
        await asyncio.wait_for(receiver.connected.wait(), patience(5))
        assert "read too slowly" in caplog.text
        await stream.aclose()
        await sender.close()
        await receiver.close()


def _overrun(url: str) -> None:
    """Publish while the loop stands still, until the server has had enough of who does not read."""
    with Redis.from_url(url) as client:
        for _ in range(2_000):
            if client.publish("md.trades.BTC/USDT", b"x" * 65_536) == 0:
                return
    raise AssertionError("the server keeps everything for a subscriber that does not read")
