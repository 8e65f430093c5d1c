"""A daemon that only listens holds a stream back while it keeps up, and is told of the gap when it comes too late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from core import topics
from core.bus import Bus, Subscription
from core.component import Message
from core.contracts import Contract, StreamGap
from core.entries import ConsumerOffset, entry_id_of
from core.ledger import Ledger
from core.service import stream_keeper
from core.service.host import ComponentHost, JournalSet
from core.service.stream_keeper import LISTENER_PATIENCE_S
from tests.support.relay_bench import CONSUMERS, NAME, Producer, stream_of
from tests.support.topic_tables import LISTENER, TWO_PRODUCERS, topic_table
from tests.support.waiting import other_tasks, patience, within

READ = 900  # transactions that the consumers have processed


class Time:
    """Seconds that pass when the test says so."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Audit:
    """A component that keeps what it is given."""

    name = LISTENER

    def __init__(self) -> None:
        self.events: list[Contract] = []

    def on_event(self, event: Contract) -> Sequence[Contract]:
        self.events.append(event)
        return ()


@pytest.fixture(autouse=True)
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A table with a listener, and a relay that trims at every look."""
    monkeypatch.setattr(stream_keeper, "TRIM_WORTH", 1)
    monkeypatch.setattr(stream_keeper, "TRIM_EVERY_S", 0.0)
    with topic_table(TWO_PRODUCERS):
        yield


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def producer(tmp_path: Path, client: Redis, time: Time) -> AsyncIterator[Producer]:
    """A producer with 1,000 entries, of which its consumers have processed 900."""
    made = Producer(tmp_path, client, time_s=time)
    await made.relay.connect()
    await made.say(1_000)
    for consumer in CONSUMERS:
        await publish(client, consumer, READ)
    yield made
    made.close()


async def publish(client: Redis, reader: str, transaction: int) -> None:
    """Publish the offset of a reader in the producer's stream."""
    await Bus("redis://fake", client=client).publish_offsets(reader, {NAME: (transaction, 0)})


async def kept(client: Redis) -> int:
    return len(await stream_of(client))


async def listen_from(client: Redis, offset: ConsumerOffset, count: int) -> list[Message]:
    """The first messages that a listener gets behind an offset."""
    bus = Bus("redis://fake", client=client)
    subscription = Subscription((), {NAME: offset}, listens=frozenset({NAME}))
    messages: list[Message] = []
    stream = bus.consume(subscription)
    async with within(10):
        async for batch in stream:
            messages += batch
            if len(messages) >= count:
                break
    await stream.aclose()
    return messages[:count]


async def holes_seen(bus: Bus) -> None:
    """Wait until a reader has looked at a hole twice."""
    async with within(10):
        while bus.holes < 2:
            await other_tasks()


async def test_a_listener_that_keeps_up_holds_the_stream_back_as_a_consumer_does(
    producer: Producer, client: Redis, time: Time
) -> None:
    for transaction in (100, 200, 300):
        await publish(client, LISTENER, transaction)
        await producer.relay.maintain()
        time.now_s += LISTENER_PATIENCE_S

    assert {(n, 0) for n in range(300, 1_001)} <= {entry.id for entry in await stream_of(client)}


@pytest.mark.parametrize("offset", [100, None], ids=["behind", "never came"])
async def test_a_listener_without_progress_for_longer_than_the_patience_holds_nothing_back(
    producer: Producer, client: Redis, time: Time, offset: int | None
) -> None:
    if offset is not None:
        await publish(client, LISTENER, offset)
    await producer.relay.maintain()
    time.now_s = LISTENER_PATIENCE_S
    await producer.relay.maintain()
    assert await kept(client) > 850

    time.now_s += 1.0
    await producer.relay.maintain()

    assert await kept(client) < 250


async def test_consumers_hold_the_stream_back_however_long_they_are_away(
    producer: Producer, client: Redis, time: Time
) -> None:
    await producer.relay.maintain()
    time.now_s = 100 * LISTENER_PATIENCE_S
    await publish(client, LISTENER, 1_000)
    await producer.relay.maintain()

    assert {(n, 0) for n in range(READ, 1_001)} <= {entry.id for entry in await stream_of(client)}


async def test_a_listener_that_has_read_everything_is_never_away(producer: Producer, client: Redis, time: Time) -> None:
    await publish(client, LISTENER, 1_000)
    await producer.relay.maintain()
    time.now_s = 100 * LISTENER_PATIENCE_S
    await producer.relay.maintain()
    await producer.say(5)
    await producer.relay.maintain()
    for consumer in CONSUMERS:
        await publish(client, consumer, 1_005)
    await producer.relay.maintain()

    assert {(n, 0) for n in range(1_000, 1_006)} <= {entry.id for entry in await stream_of(client)}


async def trim_without_listener(producer: Producer, client: Redis, time: Time, offset: int) -> None:
    """Let the listener be away at an offset until the stream was trimmed without it, and look once more."""
    await publish(client, LISTENER, offset)
    await producer.relay.maintain()
    time.now_s += 2 * LISTENER_PATIENCE_S
    await producer.relay.maintain()
    await producer.relay.maintain()


async def test_a_listener_that_returns_too_late_gets_the_gap_first_and_then_every_entry_behind_it(
    producer: Producer, client: Redis, time: Time
) -> None:
    await trim_without_listener(producer, client, time, 100)
    first = (await stream_of(client))[0]

    gap, message, *_ = await listen_from(client, (100, 0), 3)

    assert isinstance(gap.event, StreamGap)
    assert (gap.event.producer, gap.event.after) == (NAME, "100-0")
    assert gap.event.until == f"{first.id[0] - 1}-0"
    assert (message.entry, message.prev) == (first.id, entry_id_of(gap.event.until))


async def test_a_late_listener_never_makes_its_producer_refill_the_stream(
    producer: Producer, client: Redis, time: Time
) -> None:
    await trim_without_listener(producer, client, time, 100)
    trimmed = await kept(client)
    await publish(client, LISTENER, 50)
    for _ in range(3):
        await producer.relay.maintain()

    assert await kept(client) == trimmed


async def test_a_hole_that_nobody_has_given_up_is_waited_for_by_a_listener_too(
    producer: Producer, client: Redis
) -> None:
    await client.xtrim(f"njord:ledger:{NAME}", minid="500-0", approximate=False)  # as by a strange hand
    bus = Bus("redis://fake", client=client)
    stream = bus.consume(Subscription((), {NAME: (400, 0)}, listens=frozenset({NAME})))
    first = asyncio.ensure_future(anext(stream))
    await holes_seen(bus)
    assert not first.done()

    for consumer in CONSUMERS:
        await publish(client, consumer, 400)
    await producer.relay.maintain()

    assert [message.entry for message in (await asyncio.wait_for(first, patience(10)))[:2]] == [(401, 0), (402, 0)]
    await stream.aclose()


async def test_a_consumer_is_never_taken_over_a_hole(producer: Producer, client: Redis, time: Time) -> None:
    await trim_without_listener(producer, client, time, 100)
    bus = Bus("redis://fake", client=client)
    stream = bus.consume(Subscription((), {NAME: (100, 0)}))
    first = asyncio.ensure_future(anext(stream))
    await holes_seen(bus)

    assert not first.done()
    await publish(client, CONSUMERS[0], 100)
    await producer.relay.maintain()
    assert (await asyncio.wait_for(first, patience(10)))[0].entry == (101, 0)
    await stream.aclose()


def gap_message(after: int, until: int) -> Message:
    gap = StreamGap(NAME, f"{after}-0", f"{until}-0")
    return Message("", gap, NAME, 0, (until, 0), (after, 0), "a ledger")


def audit(folder: Path) -> ComponentHost:
    host = ComponentHost(Audit(), JournalSet(folder / "journals"), Ledger(folder / "audit.ndjson", durable=False))
    host.recover()
    return host


def test_a_listener_is_told_of_a_gap_which_is_counted_recorded_and_raised_as_an_alert(tmp_path: Path) -> None:
    host = audit(tmp_path)

    host.handle(gap_message(100, 700))
    host.commit()

    component = host.component
    assert isinstance(component, Audit)
    assert [type(event) for event in component.events] == [StreamGap]
    assert host.counters.missed == {NAME: 600}
    assert [alert.title for alert in host.alerts] == [f"entries of {NAME} missed"]
    assert "behind 100-0 up to 700-0" in host.alerts[0].message
    host.close()


def test_a_gap_is_told_once_and_a_restart_resumes_behind_it(tmp_path: Path) -> None:
    host = audit(tmp_path)
    host.handle(gap_message(100, 700))
    host.commit()
    host.abandon()

    restarted = audit(tmp_path)

    assert restarted.consumed[NAME] == (700, 0)
    assert restarted.handle(gap_message(100, 700)) == []
    assert restarted.counters.missed == {}
    restarted.close()


def test_a_daemon_listens_to_the_streams_that_it_consumes_nothing_of(tmp_path: Path) -> None:
    host = audit(tmp_path)

    assert host.listens == frozenset(topics.upstreams_of(LISTENER))
    host.close()
