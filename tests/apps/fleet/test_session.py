"""A session on a feed that waits: it ends when told to, whole, and what fails beside the feed ends it as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from apps.fleet.session import Session
from apps.md_ingest.source import MarketSource
from core.contracts import Contract
from core.errors import FatalError
from core.market.ingest import MarketDataIngest
from core.market.sequence import BackfillRequest
from tests.support.fleet_config import config_in
from tests.support.waiting import other_tasks


class WaitingFeed:
    """Never has anything to say; closing it takes a turn of the loop, as a socket does."""

    name = "waiting"
    symbols: tuple[str, ...] = ("BTC/USDT",)

    def __init__(self) -> None:
        self.closed = False
        self._over = asyncio.Event()
        self._closing = False

    async def stream(self) -> AsyncGenerator[Contract, None]:
        await self._over.wait()
        for nothing in list[Contract]():
            yield nothing

    def backfill(self, request: BackfillRequest) -> None:
        raise AssertionError(request)

    def counters(self) -> dict[str, int]:
        return {}

    async def aclose(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._over.set()
        for _ in range(10):
            await other_tasks()
        self.closed = True


def session_on(feed: WaitingFeed, folder: Path) -> Session:
    config = config_in(folder)
    return Session(config, MarketSource(feed, MarketDataIngest(config.instruments_table())))


async def test_a_stopped_session_lets_its_feed_close(tmp_path: Path) -> None:
    feed = WaitingFeed()
    session = session_on(feed, tmp_path)
    session.stop()
    await session.run()
    assert feed.closed


async def test_what_fails_while_the_feed_is_silent_ends_the_session_and_is_raised(tmp_path: Path) -> None:
    feed = WaitingFeed()
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise FatalError("the disk is full")

    with pytest.raises(FatalError, match="the disk is full"):
        await session_on(feed, tmp_path).run(look)
    assert feed.closed
