"""The Redis switch: any value but none, empty and 0 stops trading; no answer is told apart."""

from __future__ import annotations

from typing import Any

import pytest
from fakeredis import FakeAsyncRedis

from core import kill_switch
from core.errors import BusUnavailableError
from tests.support.redis_server import spare_port

KEY = kill_switch.DEFAULT_KEY
URL = "redis://127.0.0.1:1/0"  # not used where a client is given


@pytest.fixture
def client() -> Any:
    return FakeAsyncRedis()


@pytest.mark.parametrize(
    ("value", "tripped"), [("1", True), ("0", False), ("", False), ("true", True), ("drawdown", True), ("00", True)]
)
async def test_the_value_decides(client: Any, value: str, tripped: bool) -> None:
    await client.set(KEY, value)
    assert await kill_switch.redis_tripped(URL, KEY, client=client) is tripped


async def test_a_key_that_is_not_set_is_not_tripped(client: Any) -> None:
    assert not await kill_switch.redis_tripped(URL, KEY, client=client)


async def test_a_key_that_holds_something_else_than_text_counts_as_tripped(client: Any) -> None:
    await client.rpush(KEY, "x")
    assert await kill_switch.redis_tripped(URL, KEY, client=client)


async def test_tripping_sets_the_key_to_one_and_keeps_the_first_reason(client: Any) -> None:
    await kill_switch.trip_redis(URL, KEY, "first", client=client)
    await kill_switch.trip_redis(URL, KEY, "second", client=client)
    assert await client.get(KEY) == b"1"
    found = await kill_switch.read_redis(URL, KEY, client=client)
    assert found is not None
    assert found.reason == "first"
    assert found.ts_ns > 0


async def test_clearing_leaves_nothing_behind(client: Any) -> None:
    await kill_switch.trip_redis(URL, KEY, "x", client=client)
    await kill_switch.clear_redis(URL, KEY, client=client)
    assert await client.keys() == []
    assert await kill_switch.read_redis(URL, KEY, client=client) is None


async def test_a_key_set_by_hand_trips_without_a_reason(client: Any) -> None:
    await client.set(KEY, "1")
    assert await kill_switch.read_redis(URL, KEY, client=client) == kill_switch.Trip()


async def test_over_a_real_connection(redis_url: str) -> None:
    assert not await kill_switch.redis_tripped(redis_url, KEY)
    await kill_switch.trip_redis(redis_url, KEY, "real")
    assert await kill_switch.redis_tripped(redis_url, KEY)
    await kill_switch.clear_redis(redis_url, KEY)
    assert not await kill_switch.redis_tripped(redis_url, KEY)


async def test_a_redis_that_does_not_answer_is_told_without_its_password() -> None:
    url = f"redis://user:hush@127.0.0.1:{spare_port()}/0"
    for ask in (kill_switch.redis_tripped, kill_switch.trip_redis, kill_switch.clear_redis, kill_switch.read_redis):
        with pytest.raises(BusUnavailableError, match="expected an answer of Redis") as caught:
            await ask(url, KEY)
        assert "hush" not in str(caught.value)


async def test_an_address_that_is_none_is_told(client: Any) -> None:
    with pytest.raises(BusUnavailableError, match="kill switch"):
        await kill_switch.redis_tripped("http://nowhere", KEY)
