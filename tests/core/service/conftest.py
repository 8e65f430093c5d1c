"""Fixtures of the service tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis


@pytest.fixture(params=["fakeredis", "real"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    """A client of an empty server: one in memory, then a real one."""
    fake = request.param == "fakeredis"
    made = FakeAsyncRedis() if fake else Redis.from_url(request.getfixturevalue("redis_url"))
    yield made
    await made.aclose()
