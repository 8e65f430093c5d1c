"""A reader moves from one entry to the next, and over no hole; other streams go on meanwhile."""

from __future__ import annotations

import asyncio

import pytest
from fakeredis import FakeAsyncRedis

from core.bus import Bus, Subscription
from core.bus.cursors import HOLE_POLICY, StreamCursors
from core.bus.link import Entry
from core.component import Message
from core.contracts import OrderIntent, RiskDecision
from tests.support.contract_samples import SAMPLE_OF
from tests.support.waiting import other_tasks, patience

KEY = "njord:ledger:strategy_runner"


def entry(n: int, prev: int | None) -> Entry:
    return Entry(KEY, (n, 0), None if prev is None else (prev, 0), "a ledger", "strat.intent", b"{}")


def intent(n: int) -> Message:
    event = OrderIntent("s", "BTC/USDT", "buy", "market", 1.0, intent_id=f"i{n}", ts_local_ns=n)
    return Message("strat.intent", event, "strategy_runner", n, (n, 0), (n - 1, 0) if n > 1 else (0, 0), "a ledger")


def test_a_cursor_takes_what_follows_and_nothing_behind_a_hole() -> None:
    cursors = StreamCursors({KEY: (4, 0)})
    assert cursors.advance(entry(5, 4))
    assert not cursors.advance(entry(7, 6))
    assert not cursors.advance(entry(8, 7)), "not even what would follow the entry behind the hole"
    assert cursors.settle(0.0) == 1
    assert cursors.due(1.0) == {KEY: (5, 0)}


def test_a_consumer_that_has_nothing_takes_only_the_first_entry_there_ever_was() -> None:
    cursors = StreamCursors({KEY: (0, 0)})
    assert not cursors.advance(entry(5, 4))
    cursors.settle(0.0)
    assert cursors.advance(Entry(KEY, (1, 0), (0, 0), "a ledger", "strat.intent", b"{}"))


def test_an_entry_of_another_hand_is_taken_to_be_set_aside() -> None:
    assert StreamCursors({KEY: (4, 0)}).advance(entry(9, None))


def test_the_pause_at_a_hole_grows_to_its_limit_and_begins_anew_behind_it() -> None:
    cursors, now, pauses = StreamCursors({KEY: (0, 0), "another": (0, 0)}), 0.0, []
    for _ in range(9):
        assert not cursors.advance(entry(5, 4))
        cursors.settle(now)
        assert list(cursors.due(now)) == ["another"]
        pauses.append(cursors.wait_s(now))
        now += pauses[-1]
    assert pauses[0] == pytest.approx(HOLE_POLICY.initial_s)
    assert all(pauses[i + 1] > 0.99 * pauses[i] for i in range(8))
    assert pauses[-1] == pytest.approx(HOLE_POLICY.cap_s)
    assert cursors.advance(entry(1, 0))
    cursors.settle(now)
    assert not cursors.advance(entry(5, 4))
    cursors.settle(now)
    assert cursors.wait_s(now) == pytest.approx(HOLE_POLICY.initial_s)


def test_an_outage_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    cursors = StreamCursors({KEY: (0, 0)})
    for now in range(5):
        cursors.advance(entry(5, 4))
        cursors.settle(float(now))
    assert caplog.text.count("waiting for its producer to refill it") == 1


async def test_a_stream_with_a_hole_keeps_no_other_stream_waiting_and_goes_on_once_it_is_refilled() -> None:
    client = FakeAsyncRedis()
    sender, receiver = Bus("redis://fake", client=client), Bus("redis://fake", client=client)
    for producer in ("strategy_runner", "risk_engine"):
        await sender.claim(producer, 1)
    decision = SAMPLE_OF[RiskDecision]
    await sender.publish([intent(4)], (3, 0))
    stream = receiver.consume(Subscription((), {"strategy_runner": (2, 0), "risk_engine": (0, 0)}))
    first = asyncio.ensure_future(anext(stream))
    while not receiver.holes:
        await other_tasks()
    await sender.publish([Message("risk.decisions", decision, "risk_engine", 1, (1, 0), (0, 0), "another")])
    assert [m.producer for m in await asyncio.wait_for(first, patience(5))] == ["risk_engine"]
    await sender.remove("strategy_runner")
    await sender.publish([intent(3), intent(4)], (2, 0))
    assert await asyncio.wait_for(anext(stream), patience(5)) == [intent(3), intent(4)]
    await stream.aclose()
