"""Two producers of one topic: each has its ledger, its stream and its trimming; no trouble of one is the other's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from core.bus import Bus, Subscription
from core.entries import EntryId
from core.errors import FencedError
from core.service import stream_keeper
from tests.support.relay_bench import NAME, Producer
from tests.support.topic_tables import SECOND, TWO_PRODUCERS, topic_table
from tests.support.waiting import within

BOTH = (NAME, SECOND)


@pytest.fixture(autouse=True)
def two_producers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(stream_keeper, "TRIM_WORTH", 1)
    monkeypatch.setattr(stream_keeper, "TRIM_EVERY_S", 0.0)
    with topic_table(TWO_PRODUCERS):
        yield


class RiskEngine:
    """A consumer of both streams, which goes on behind what it has."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.entries: dict[str, list[EntryId]] = {name: [] for name in BOTH}

    @property
    def offsets(self) -> dict[str, EntryId]:
        return {name: entries[-1] if entries else (0, 0) for name, entries in self.entries.items()}

    async def read(self, *producers: Producer) -> None:
        """Read until everything is there that the producers have recorded."""
        bus = Bus("redis://fake", client=self.client)
        stream = bus.consume(Subscription((), self.offsets))
        async with within(20):
            while any(self.entries[producer.name] != producer.entries for producer in producers):
                for message in await anext(stream):
                    self.entries[message.producer].append(message.entry)
        await stream.aclose()

    async def publish_offsets(self) -> None:
        await Bus("redis://fake", client=self.client).publish_offsets("risk_engine", self.offsets)


async def started(folder: Path, client: Redis, name: str) -> Producer:
    producer = Producer(folder / name, client, name=name)
    await producer.relay.connect()
    return producer


async def kept(client: Redis, name: str) -> int:
    return int(await client.xlen(f"njord:ledger:{name}"))


async def test_a_consumer_gets_every_entry_of_both_once_and_in_order(tmp_path: Path, client: Redis) -> None:
    risk = RiskEngine(client)
    one, two = [await started(tmp_path, client, name) for name in BOTH]
    await one.say(5)
    await two.say(3)
    await one.say(2)

    await risk.read(one, two)

    assert risk.entries == {NAME: one.entries, SECOND: two.entries}
    one.close()
    two.close()


async def test_a_crash_of_one_loses_nothing_of_it_and_leaves_the_stream_of_the_other_alone(
    tmp_path: Path, client: Redis
) -> None:
    risk = RiskEngine(client)
    one, two = [await started(tmp_path, client, name) for name in BOTH]
    await one.say(4)
    await two.say(4)
    two.record(3)  # in the ledger, and then it dies before it can send
    two.close()
    await one.say(2)

    two = await started(tmp_path, client, SECOND)
    await risk.read(one, two)

    assert risk.entries == {NAME: one.entries, SECOND: two.entries}
    assert len(two.entries) == 7
    one.close()
    two.close()


async def test_after_a_server_was_emptied_each_refills_its_own_stream_from_where_its_consumers_are(
    tmp_path: Path, client: Redis
) -> None:
    risk = RiskEngine(client)
    one, two = [await started(tmp_path, client, name) for name in BOTH]
    await one.say(20)
    await two.say(10)
    await risk.read(one, two)
    await client.flushall()
    await risk.publish_offsets()
    await Bus("redis://fake", client=client).publish_offsets("paper_trader", {NAME: (20, 0)})

    await one.say(1)
    await two.say(1)
    await risk.read(one, two)

    assert risk.entries == {NAME: one.entries, SECOND: two.entries}
    assert await kept(client, SECOND) == 1, "only what its consumer lacks"
    one.close()
    two.close()


async def test_each_stream_is_trimmed_by_the_offsets_in_it_and_by_no_offset_in_the_other(
    tmp_path: Path, client: Redis
) -> None:
    risk = RiskEngine(client)
    one, two = [await started(tmp_path, client, name) for name in BOTH]
    await one.say(1_000)
    await two.say(1_000)
    await risk.read(one, two)
    await risk.publish_offsets()  # the paper trader, which reads the first stream alone, has published nothing
    offsets = Bus("redis://fake", client=client)
    for producer in (one, two):
        await offsets.publish_offsets("audit", {producer.name: (1_000, 0)})

    await one.relay.maintain()
    await two.relay.maintain()

    assert await kept(client, NAME) == 1_000
    assert await kept(client, SECOND) < 200
    one.close()
    two.close()


async def test_a_second_copy_of_one_fences_its_older_copy_and_not_the_other_producer(
    tmp_path: Path, client: Redis
) -> None:
    one, two = [await started(tmp_path, client, name) for name in BOTH]
    await Bus("redis://fake", client=client).claim(SECOND, 2_000)

    await one.say(1)
    with pytest.raises(FencedError, match=f"another copy of {SECOND}"):
        await two.say(1)

    assert await kept(client, NAME) == 1
    one.close()
    two.close()
