"""A subscription has several readers, which lose the server and find it again each at its own time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import cast

from core.bus import RedisBus, Subscription
from core.bus.link import Link, Reading
from core.entries import EntryId
from core.errors import BusUnavailableError
from tests.support.waiting import other_tasks, within


class LateLink:
    """Subscribes at once; reading streams fails until the subscription stands, and a few times after."""

    def __init__(self, failures: int) -> None:
        self.reads = 0
        self.answered = asyncio.Event()
        self._failures = failures
        self._subscribed = asyncio.Event()

    async def listen(self, patterns: Sequence[str]) -> AsyncGenerator[tuple[str, bytes] | None, None]:
        """Subscribed, and silent from then on."""
        yield None
        self._subscribed.set()
        await asyncio.Event().wait()

    async def read(self, offsets: Mapping[str, EntryId], watch: str | None, count: int, block_ms: int) -> Reading:
        """Nothing new, once it answers."""
        await self._subscribed.wait()
        self.reads += 1
        if self.reads <= self._failures:
            raise BusUnavailableError("gone")
        self.answered.set()
        await other_tasks()
        return Reading((), None)

    async def close(self) -> None:
        """Nothing is open."""


async def test_a_reader_that_finds_the_server_later_than_the_others_makes_the_daemon_ready_again() -> None:
    link = LateLink(failures=2)
    bus = RedisBus("redis://127.0.0.1:1/0", link=cast(Link, link))
    consuming = asyncio.ensure_future(anext(bus.consume(Subscription(("md.clock",), {"risk_engine": (0, 0)})), None))
    try:
        async with within(5):
            await link.answered.wait()
            await bus.connected.wait()
    finally:
        await bus.close()
        await consuming
