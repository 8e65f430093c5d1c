"""Of two copies of a daemon the younger sends; the older is refused at once and ends, whatever the server forgot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from core.bus import Bus
from core.errors import FencedError
from tests.support.relay_bench import NAME, Producer, intent, stream_of


@pytest.fixture(params=["fakeredis", "real"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    fake = request.param == "fakeredis"
    made = FakeAsyncRedis() if fake else Redis.from_url(request.getfixturevalue("redis_url"))
    yield made
    await made.aclose()


@pytest.fixture
async def copies(tmp_path: Path, client: Redis) -> AsyncIterator[tuple[Producer, Producer]]:
    """The older and the younger copy, on two machines with the same ledger so far; both have connected."""
    older = Producer(tmp_path / "one", client, now_ms=1_000)
    await older.relay.connect()
    await older.say(2)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / older.path.name).write_bytes(older.path.read_bytes())
    younger = Producer(tmp_path / "two", client, now_ms=2_000)
    await younger.relay.connect()
    yield older, younger
    older.close()
    younger.close()


async def test_the_older_copy_is_refused_when_it_sends_and_nothing_of_it_is_sent(
    copies: tuple[Producer, Producer], client: Redis
) -> None:
    older, younger = copies
    with pytest.raises(FencedError, match=r"another copy of strategy_runner has taken over since 1970-01-01T00:00:02"):
        await older.say(1)
    await younger.say(1)
    assert [entry.id for entry in await stream_of(client)] == younger.entries


async def test_the_older_copy_is_refused_though_it_has_nothing_to_send(copies: tuple[Producer, Producer]) -> None:
    older, younger = copies
    await younger.relay.maintain()
    with pytest.raises(FencedError):
        await older.relay.maintain()


@pytest.mark.parametrize("act", ["say", "mend"])
async def test_the_younger_copy_renews_its_claim_on_an_emptied_server(
    act: str, copies: tuple[Producer, Producer], client: Redis
) -> None:
    older, younger = copies
    await client.flushall()
    await (younger.say(1) if act == "say" else younger.relay.maintain())
    kept = await stream_of(client)
    with pytest.raises(FencedError):
        await older.say(1)
    with pytest.raises(FencedError):
        await older.relay.maintain()
    assert await stream_of(client) == kept


async def test_who_sends_first_on_an_emptied_server_does_not_keep_the_younger_copy_out(
    copies: tuple[Producer, Producer], client: Redis
) -> None:
    older, younger = copies
    await client.flushall()
    await older.relay.maintain()
    await younger.say(1)
    with pytest.raises(FencedError):
        await older.relay.maintain()


async def test_a_number_that_another_copy_used_while_the_fence_was_forgotten_is_not_taken_for_a_repeat(
    copies: tuple[Producer, Producer], client: Redis
) -> None:
    older, younger = copies
    await client.delete(fence_of(older))  # evicted, though the stream is there
    await older.say(1)
    told = younger.host.publish([intent(1_000)])
    younger.host.commit()
    with pytest.raises(FencedError, match="has another entry 3-0 than ours"):
        await younger.relay.send(told)


def fence_of(producer: Producer) -> str:
    return producer.bus.fence_key(NAME)


async def test_a_copy_that_lost_its_connection_does_not_claim_again(copies: tuple[Producer, Producer]) -> None:
    older, _ = copies
    with pytest.raises(FencedError):
        await older.relay.connect()
    assert older.link.commands.count("claim") == 1


async def test_tokens_grow_though_clocks_go_backwards(client: Redis) -> None:
    buses = [Bus("redis://fake", client=client) for _ in range(3)]
    tokens = [await bus.claim(NAME, floor) for bus, floor in zip(buses, (1_700_000_000_000, 5, 5), strict=True)]
    assert tokens == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002]


async def test_a_copy_that_must_not_start_claims_nothing(tmp_path: Path, client: Redis) -> None:
    running = Producer(tmp_path / "one", client, now_ms=1_000)
    await running.relay.connect()
    await running.say(3)
    stale = Producer(tmp_path / "two", client, now_ms=2_000)
    with pytest.raises(Exception, match="the ledger ends at transaction 0"):
        await stale.relay.connect()
    await running.say(1)
    running.close()
    stale.close()
