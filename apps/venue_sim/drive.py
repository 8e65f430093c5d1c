"""Time for the simulated venue: moves the markets at a rate or as recorded, and lets the planned faults happen."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from apps.venue_sim.flow import CaptureFlow, SeededFlow
from apps.venue_sim.server import VenueServer
from core.clock import NS_PER_MS, NS_PER_S, Clock
from core.errors import ConfigError

DEPTH_EVERY_S: Final = 0.1  # as the venue's @depth@100ms


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """When what goes wrong, counted in trades since the start; 0 for never. Durations in seconds."""

    cut_at: int = 0
    cut_every: int = 0
    stall_at: int = 0
    stall_for_s: float = 5.0
    down_at: int = 0
    down_for_s: float = 5.0


class Drive:
    """Runs flows on a server and counts their trades for the plan."""

    def __init__(self, server: VenueServer, clock: Clock, plan: FaultPlan | None = None) -> None:
        self.trades = 0
        self._server = server
        self._clock = clock
        self._plan = plan or FaultPlan()
        self._recoveries: dict[asyncio.Task[None], None] = {}

    async def seeded(self, flow: SeededFlow, rate: float) -> None:
        """Trade for ever, ``rate`` times a second, and send the book ten times a second.

        Raises:
            ConfigError: a rate that is not above 0.
        """
        if rate <= 0:
            raise ConfigError(f"--rate: expected trades per second above 0, got {rate}")
        loop = asyncio.get_running_loop()
        start = loop.time()
        published, next_depth = 0, start
        while True:
            due = int((loop.time() - start) * rate)
            for _ in range(due - published):
                self._server.publish_trade(flow.market, flow.step(self._clock.now_ns() // NS_PER_MS))
                await self._count()
            published = due
            if loop.time() >= next_depth:
                next_depth = loop.time() + DEPTH_EVERY_S
                flow.quote()
                self._server.publish_depth(flow.market)
            await asyncio.sleep(min(1.0 / rate, DEPTH_EVERY_S))

    async def recorded(self, flow: CaptureFlow, speed: float) -> None:
        """Play a capture once, ``speed`` times as fast as it was recorded, with the recorded event times.

        Raises:
            ConfigError: no such capture, or a speed that is not above 0.
            CodecError: a line that is none of a capture.
        """
        if speed <= 0:
            raise ConfigError(f"--speed: expected a factor above 0, got {speed}")
        loop = asyncio.get_running_loop()
        start, first_ns, next_depth_ns = loop.time(), 0, 0
        for step in flow.steps():
            first_ns = first_ns or step.ts_ns
            wait_s = start + (step.ts_ns - first_ns) / NS_PER_S / speed - loop.time()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            if step.trade is not None:
                self._server.publish_trade(flow.market, step.trade, step.trade.ts_ms)
                await self._count()
            if step.ts_ns >= next_depth_ns:
                next_depth_ns = step.ts_ns + int(DEPTH_EVERY_S * NS_PER_S)
                self._server.publish_depth(flow.market, step.ts_ns // NS_PER_MS)

    async def stop(self) -> None:
        """Forget the faults that are not over yet."""
        for task in list(self._recoveries):
            task.cancel()
        await asyncio.gather(*self._recoveries, return_exceptions=True)

    async def _count(self) -> None:
        self.trades += 1
        plan = self._plan
        if self.trades == plan.cut_at or (plan.cut_every and self.trades % plan.cut_every == 0):
            self._server.cut()
        if self.trades == plan.stall_at:
            self._server.stream_faults.stall()
            self._later(self._unstall(plan.stall_for_s))
        if self.trades == plan.down_at:
            await self._server.down()
            self._later(self._up(plan.down_for_s))

    async def _unstall(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._server.stream_faults.stalled = False

    async def _up(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await self._server.up()

    def _later(self, recovery: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(recovery)
        self._recoveries[task] = None
        task.add_done_callback(lambda done: self._recoveries.pop(done, None))
