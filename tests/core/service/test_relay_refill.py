"""What Redis lost of a stream comes back from the ledger, whenever it was lost, and nobody gets a thing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakeredis import FakeAsyncRedis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import LedgerCorruptError
from core.service import stream_keeper
from tests.support.relay_bench import CONSUMERS, KEY, NAME, Consumer, Producer, go_back, stream_of
from tests.support.waiting import within


@pytest.fixture
async def client() -> AsyncIterator[FakeAsyncRedis]:
    fake = FakeAsyncRedis()
    yield fake
    await fake.aclose()


@pytest.fixture
async def producer(tmp_path: Path, client: FakeAsyncRedis) -> AsyncIterator[Producer]:
    made = Producer(tmp_path, client)
    yield made
    made.close()


async def consumers(client: FakeAsyncRedis) -> list[Consumer]:
    return [Consumer(name, client) for name in CONSUMERS]


async def settled(producer: Producer, readers: list[Consumer]) -> None:
    """Let everybody do what they do every half second, a few times."""
    for _ in range(4):
        for reader in readers:
            for _ in range(3):
                await reader.take()
            await reader.tell()
        await producer.relay.maintain()
    for reader in readers:
        for _ in range(3):
            await reader.take()


@pytest.mark.parametrize("moment", range(1, 12))
async def test_a_server_emptied_between_any_two_commands_loses_nothing(
    moment: int, producer: Producer, client: FakeAsyncRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_keeper, "REFILL_BATCH", 2)
    readers = await consumers(client)
    await producer.relay.connect()
    await producer.say(3)
    producer.link.commands.clear()

    async def empty(_: str) -> None:
        if len(producer.link.commands) in {1, moment}:
            await client.flushall()

    producer.link.before = empty
    await producer.say(4)
    await producer.say(1)
    await producer.relay.maintain()
    await settled(producer, readers)
    assert all(reader.taken == producer.entries for reader in readers)


async def test_an_emptied_server_is_noticed_though_nobody_sends(producer: Producer, client: FakeAsyncRedis) -> None:
    await producer.relay.connect()
    await producer.say(3)
    await client.flushall()
    await producer.relay.maintain()
    assert [entry.id for entry in await stream_of(client)] == producer.entries


async def test_a_server_that_came_back_from_an_older_state_is_brought_up_to_date(
    producer: Producer, client: FakeAsyncRedis
) -> None:
    await producer.relay.connect()
    await producer.say(6)
    await go_back(client, 0.4)
    await producer.say(1)
    assert [entry.id for entry in await stream_of(client)] == producer.entries


async def test_a_stream_without_entries_that_remembers_its_numbers_is_made_anew(
    producer: Producer, client: FakeAsyncRedis
) -> None:
    await producer.relay.connect()
    await producer.say(3)
    await client.xtrim(KEY, maxlen=0)
    await producer.say(1)
    assert [entry.id for entry in await stream_of(client)] == producer.entries


async def test_a_lost_stream_begins_behind_the_slowest_consumer(producer: Producer, client: FakeAsyncRedis) -> None:
    readers = await consumers(client)
    await producer.relay.connect()
    await producer.say(10)
    for reader, count in zip(readers, (4, 7), strict=True):
        await reader.take(count)
        await reader.tell()
    await client.delete(KEY)
    await producer.relay.maintain()
    assert [entry.id for entry in await stream_of(client)] == producer.entries[4:]


async def test_a_lost_stream_begins_with_its_tail_until_somebody_says_that_more_is_needed(
    producer: Producer, client: FakeAsyncRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_keeper, "REFILL_TAIL", 5)
    readers = await consumers(client)
    await producer.relay.connect()
    await producer.say(20)
    await client.flushall()
    await producer.relay.maintain()
    assert len(await stream_of(client)) == 5
    assert await readers[0].take() == 1, "a hole is seen"
    assert readers[0].taken == []
    await settled(producer, readers)
    assert all(reader.taken == producer.entries for reader in readers)


async def test_a_consumer_whose_ledger_was_deleted_gets_everything_again(
    producer: Producer, client: FakeAsyncRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_keeper, "TRIM_WORTH", 1)
    readers = await consumers(client)
    await producer.relay.connect()
    await producer.say(300)
    await settled(producer, readers)
    await readers[0].forget()
    await settled(producer, readers)
    assert all(reader.taken == producer.entries for reader in readers)


async def test_a_restart_sends_what_the_crash_kept_from_being_sent(tmp_path: Path, client: FakeAsyncRedis) -> None:
    first = Producer(tmp_path, client)
    await first.relay.connect()
    await first.say(2)
    first.record(3)
    first.close()
    second = Producer(tmp_path, client)
    await second.relay.connect()
    assert [entry.id for entry in await stream_of(client)] == second.entries
    assert len(second.entries) == 5
    second.close()


async def test_a_ledger_of_another_identity_is_refused_before_anything_is_claimed(
    tmp_path: Path, client: FakeAsyncRedis
) -> None:
    first, other = Producer(tmp_path / "one", client), Producer(tmp_path / "other", client)
    await first.relay.connect()
    await first.say(2)
    other.host.clock.advance_to(5)  # it began at another time
    other.record(4)
    with pytest.raises(LedgerCorruptError, match="Redis has a stream of the ledger") as refused:
        await other.relay.connect()
    assert "delete the keys njord:ledger:strategy_runner" in str(refused.value)
    await first.say(1)
    first.close()
    other.close()


async def test_a_ledger_behind_what_a_consumer_has_processed_is_refused_though_redis_is_empty(
    producer: Producer, client: FakeAsyncRedis
) -> None:
    producer.record(3)
    await Consumer("risk_engine", client).bus.publish_offsets("risk_engine", {NAME: (9, 0)})
    with pytest.raises(LedgerCorruptError, match="risk_engine has processed it up to 9-0"):
        await producer.relay.connect()


async def test_a_long_refill_says_how_far_it_is(
    producer: Producer, client: FakeAsyncRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream_keeper, "PROGRESS_S", 0.0)
    monkeypatch.setattr(stream_keeper, "REFILL_BATCH", 2)
    caplog.set_level("INFO")
    producer.record(5)
    said: list[str] = []

    async def listen(_: str) -> None:
        said.append(producer.relay.waiting_for)

    producer.link.before = listen
    await producer.relay.connect()
    assert "the refill of its stream: 4-0 of 5-0" in said
    assert "2 entries sent, at 2-0 of 5-0" in caplog.text
    assert producer.relay.waiting_for == ""


async def test_a_daemon_that_is_to_stop_leaves_a_refill_unfinished(producer: Producer, client: FakeAsyncRedis) -> None:
    producer.record(2_000)

    async def stop(name: str) -> None:
        if name == "send":
            producer.stopping.set()

    producer.link.before = stop
    async with within(5):
        await producer.relay.connect()
    assert len(await stream_of(client)) < 2_000


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 8)),
        st.tuples(st.just("record"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["flush", "drop", "older", "mend", "restart"]), st.just(0)),
        st.tuples(st.sampled_from(["take", "tell", "forget"]), st.integers(0, 1)),
        st.tuples(st.just("empty_before"), st.integers(1, 12)),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_whatever_happens_to_the_server_every_consumer_gets_every_entry_once_and_in_order(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    asyncio.run(play(steps, tmp_path_factory.mktemp("ledger")))


async def play(steps: list[tuple[str, int]], folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("REFILL_BATCH", 3), ("REFILL_TAIL", 4), ("TRIM_WORTH", 1), ("TRIM_EVERY_S", 0.0)):
            patched.setattr(stream_keeper, name, value)
        client = FakeAsyncRedis()
        producer, readers = Producer(folder, client), await consumers(client)
        await producer.relay.connect()
        for step, number in steps:
            if step == "record":  # and a crash before it is sent
                producer.record(number)
            if step in ("record", "restart"):
                producer.close()
                producer = Producer(folder, client)
                await producer.relay.connect()
            elif step in ("take", "tell", "forget"):
                await getattr(readers[number], step)()
            else:
                await meddle(step, number, producer, client)
            for reader in readers:
                assert reader.taken == producer.entries[: len(reader.taken)]
        await settled(producer, readers)
        for reader in readers:
            assert reader.taken == producer.entries
        producer.close()
        await client.aclose()


async def meddle(step: str, number: int, producer: Producer, client: FakeAsyncRedis) -> None:
    if step == "say":
        await producer.say(number)
    elif step == "mend":
        await producer.relay.maintain()
    elif step == "flush":
        await client.flushall()
    elif step == "empty_before":
        empty_before(producer, client, number)
    else:
        await go_back(client, 0.5 if step == "older" else 0.0)


def empty_before(producer: Producer, client: FakeAsyncRedis, number: int) -> None:
    """Empty the server before the producer's ``number``-th command from now on."""
    due = len(producer.link.commands) + number

    async def before(_: str) -> None:
        if len(producer.link.commands) == due:
            await client.flushall()

    producer.link.before = before
