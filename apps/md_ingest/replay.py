"""Offline feeds in time: as fast as they were recorded, so many times faster, or as fast as they are taken.

Only the pace comes from a clock; the events keep their own times, which are the only ones anybody downstream sees.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import Final

from apps.md_ingest.feeds import OfflineFeed
from apps.md_ingest.resume import JournaledPart
from core.clock import NS_PER_S, Clock, SystemClock
from core.contracts import Contract
from core.errors import ConfigError
from core.market.sequence import BackfillDone, BackfillRequest

MAX_SPEED: Final = inf
_SHORTEST_SLEEP_NS: Final = 1_000_000  # a shorter wait is made up for by the next
_YIELD_EVERY: Final = 256  # events at full speed between two turns of the event loop

Sleep = Callable[[float], Awaitable[None]]


def parse_speed(text: str) -> float:
    """``1x``, ``10x``, ``0.5x`` or ``max`` as a factor. Raises ConfigError."""
    if text == "max":
        return MAX_SPEED
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < inf:
        raise ConfigError(f"--speed {text!r}: expected a factor above 0 such as 1x, 10x or 0.5x, or max")
    return speed


async def pace(
    events: Iterable[Contract],
    speed: float = 1.0,
    *,
    clock: Clock | None = None,
    sleep: Sleep = asyncio.sleep,
    journaled: JournaledPart | None = None,
) -> AsyncIterator[Contract]:
    """The events, each when its time of receipt has come, ``speed`` times faster than it was recorded.

    A consumer that is slow is not waited for twice: a replay that is late catches up. Events that go back in time
    come at once. What is ``journaled`` already is left out and takes no time.
    """
    now_ns = (clock or SystemClock()).now_ns
    started = now_ns()
    first = 0
    for count, event in enumerate(events, 1):
        if journaled is not None and journaled.has(event):
            if count % _YIELD_EVERY == 0:
                await sleep(0)
            continue
        if speed == MAX_SPEED:
            if count % _YIELD_EVERY == 0:
                await sleep(0)
        elif receipt := _receipt(event):
            first = first or receipt
            ahead = (receipt - first) / speed - (now_ns() - started)
            if ahead >= _SHORTEST_SLEEP_NS:
                await sleep(ahead / NS_PER_S)
            elif count % _YIELD_EVERY == 0:
                await sleep(0)
        yield event


def _receipt(event: Contract) -> int:
    """When the event was received; one that was not received, such as a status, comes with the event before."""
    receipt: int = getattr(event, "ts_recv_ns", 0)
    return receipt or (event.ts_ns if hasattr(event, "ts_recv_ns") else 0)


class PacedFeed:
    """An offline feed as a ``Feed``, without what is ``journaled`` already.

    Nobody can be asked for missing trades: every request is answered at once.
    """

    def __init__(
        self,
        feed: OfflineFeed,
        speed: float = 1.0,
        *,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
        journaled: JournaledPart | None = None,
    ) -> None:
        self.name = feed.name
        self.symbols = feed.symbols
        self._feed = feed
        self._speed = speed
        self._clock = clock
        self._sleep = sleep
        self._journaled = journaled
        self._answers: deque[BackfillDone] = deque()

    async def stream(self) -> AsyncGenerator[Contract, None]:
        """The events at their pace; ends with the recording."""
        events = self._feed.events()
        async for event in pace(events, self._speed, clock=self._clock, sleep=self._sleep, journaled=self._journaled):
            while self._answers:
                yield self._answers.popleft()
            yield event
        while self._answers:
            yield self._answers.popleft()

    def backfill(self, request: BackfillRequest) -> None:
        """Answer that the recording does not have them."""
        reason = "missing in the recording"
        self._answers.append(BackfillDone(request.symbol, request.first_id, request.last_id, reason, request.ts))

    def counters(self) -> Mapping[str, int]:
        """Lines that could not be used, events of symbols that are not served, events that were journaled already."""
        return {
            "rejected_lines": self._feed.rejected,
            "left_out": self._feed.left_out.total(),
            "journaled_already": self._journaled.count if self._journaled is not None else 0,
        }

    async def aclose(self) -> None:
        """Nothing is open between two events."""
