"""Redis keeps of a stream what somebody still has to process, and not for ever what nobody needs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from core.service import stream_keeper
from tests.support.relay_bench import CONSUMERS, NAME, Consumer, Producer, stream_of


@pytest.fixture(autouse=True)
def at_every_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_keeper, "TRIM_WORTH", 1)
    monkeypatch.setattr(stream_keeper, "TRIM_EVERY_S", 0.0)


@pytest.fixture(params=["fakeredis", "real"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    fake = request.param == "fakeredis"
    made = FakeAsyncRedis() if fake else Redis.from_url(request.getfixturevalue("redis_url"))
    yield made
    await made.aclose()


@pytest.fixture
async def producer(tmp_path: Path, client: Redis) -> AsyncIterator[Producer]:
    made = Producer(tmp_path, client)
    await made.relay.connect()
    await made.say(1_000)
    yield made
    made.close()


async def at(client: Redis, consumer: str, transaction: int) -> None:
    await Consumer(consumer, client).bus.publish_offsets(consumer, {NAME: (transaction, 0)})


async def test_what_every_consumer_has_processed_goes(producer: Producer, client: Redis) -> None:
    for consumer, transaction in zip(CONSUMERS, (700, 900), strict=True):
        await at(client, consumer, transaction)
    await producer.relay.maintain()
    kept = [entry.id for entry in await stream_of(client)]
    assert len(kept) < 1_000
    assert set(producer.entries[700:]) <= set(kept)


async def test_a_consumer_that_never_came_keeps_everything(producer: Producer, client: Redis) -> None:
    await at(client, CONSUMERS[0], 1_000)
    await at(client, "somebody_else", 1_000)
    await producer.relay.maintain()
    assert len(await stream_of(client)) == 1_000


async def test_the_newest_entry_stays_so_that_the_next_one_has_something_to_follow(
    producer: Producer, client: Redis
) -> None:
    for consumer in CONSUMERS:
        await at(client, consumer, 1_000)
    await producer.relay.maintain()
    await producer.say(1)
    kept = [entry.id for entry in await stream_of(client)]
    assert kept[-2:] == producer.entries[-2:]
    assert "remove" not in producer.link.commands


async def test_a_position_that_cannot_be_read_counts_as_none(producer: Producer, client: Redis) -> None:
    await at(client, CONSUMERS[0], 1_000)
    await client.hset(f"njord:offsets:{NAME}", CONSUMERS[1], "yesterday")
    await producer.relay.maintain()
    assert len(await stream_of(client)) == 1_000


async def test_little_is_not_worth_a_trim_and_time_passes_between_two(
    producer: Producer, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for consumer in CONSUMERS:
        await at(client, consumer, 900)
    monkeypatch.setattr(stream_keeper, "TRIM_WORTH", 5_000)
    await producer.relay.maintain()
    monkeypatch.setattr(stream_keeper, "TRIM_WORTH", 1)
    monkeypatch.setattr(stream_keeper, "TRIM_EVERY_S", 3_600.0)
    await producer.relay.maintain()
    await producer.relay.maintain()
    assert producer.link.commands.count("trim") == 1
