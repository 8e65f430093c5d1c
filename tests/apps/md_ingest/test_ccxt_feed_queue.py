"""The queue before the reader: trades wait for room, books give way to later ones, an end is an end."""

from __future__ import annotations

import asyncio

import pytest

from apps.md_ingest.feed_queue import FeedQueue
from core.contracts import BookEvent, Contract, TradeEvent
from core.errors import FeedError
from tests.support.waiting import other_tasks


def trade(number: int) -> TradeEvent:
    return TradeEvent("BTC/USDT", 1.0, 1.0, "buy", 1, str(number))


def book(number: int, symbol: str = "BTC/USDT") -> BookEvent:
    return BookEvent(symbol, ((1.0, 1.0),), ((2.0, 1.0),), 0, last_id=number)


async def test_events_come_out_in_the_order_they_went_in() -> None:
    queue = FeedQueue(10)
    await queue.put([trade(1), trade(2)])
    queue.put_latest(book(1))
    await queue.put([trade(3)])

    assert await queue.take() == [trade(1), trade(2), book(1), trade(3)]


async def test_trades_wait_for_room_and_none_is_dropped() -> None:
    queue = FeedQueue(2)
    putting = asyncio.create_task(queue.put([trade(n) for n in range(7)]))
    taken: list[Contract] = []
    while len(taken) < 7:
        batch = await queue.take()
        assert len(batch) <= 2
        taken += batch

    assert taken == [trade(n) for n in range(7)]
    assert await putting, "it had to wait"


async def test_a_later_book_takes_the_place_of_one_that_still_waits() -> None:
    queue = FeedQueue(10)
    queue.put_latest(book(1))
    queue.put_latest(book(1, "ETH/USDT"))
    queue.put_latest(book(2))

    assert await queue.take() == [book(2), book(1, "ETH/USDT")]
    assert queue.shed == 1


async def test_a_failure_comes_after_what_was_queued_before_it() -> None:
    queue = FeedQueue(10)
    await queue.put([trade(1)])
    queue.fail(FeedError("first"))
    queue.fail(FeedError("second"))

    assert await queue.take() == [trade(1)]
    with pytest.raises(FeedError, match="first"):
        await queue.take()


async def test_closing_lets_the_waiting_go_and_ends_the_reader() -> None:
    queue = FeedQueue(1)
    await queue.put([trade(1)])
    putting = asyncio.create_task(queue.put([trade(2)]))
    await other_tasks()
    queue.close()
    await putting

    assert await queue.take() == [trade(1), trade(2)]
    assert await queue.take() == []
