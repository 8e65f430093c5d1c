"""The periodic maintenance of a daemon, beside its messages: it also runs while nothing happens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from core.bus import RedisBus
from core.errors import BusUnavailableError, NjordError
from core.journal.rotation import compress_closed
from core.service.host import ComponentHost
from core.service.kill_watch import KillSwitchWatch
from core.service.metrics import ServiceMetrics
from core.service.processing import Processor
from core.service.relay import Relay
from core.service.state import ServiceState
from core.service.systemd import Notifier

EVERY_S: Final = 0.5  # between two looks at the kill switch and at what Redis still has
COMPRESS_EVERY_S: Final = 600.0
LAG_PROBE_S: Final = 0.5
_log: Final = logging.getLogger("njord.service")


class Maintenance:
    """Keeps the ledger's surroundings in order: kill switch, alerts, journals, Redis' copy of the stream.

    Args:
        host: whose ledger and journals these are.
        bus: takes the consumer offsets.
        relay: looks after the stream in Redis.
        processor: whose turn is taken.
        kill_switch: watched by a daemon that asks it for no decision; None for one that does.
        status: nothing is done for a ledger before the service is ready.
        stopping: set when the daemon is to end.
    """

    def __init__(
        self,
        host: ComponentHost,
        bus: RedisBus,
        relay: Relay,
        processor: Processor,
        kill_switch: KillSwitchWatch | None,
        status: ServiceState,
        stopping: asyncio.Event,
    ) -> None:
        self._host = host
        self._bus = bus
        self._relay = relay
        self._processor = processor
        self._kill_switch = kill_switch
        self._status = status
        self._stopping = stopping

    async def run(self) -> None:
        """Look after everything twice a second until the daemon is to stop."""
        while not self._stopping.is_set():
            await asyncio.sleep(EVERY_S)
            await self._processor.publish_alerts()
            await self._watch_kill_switch()
            if self._status.ready and self._host.ledger is not None:
                async with self._processor.turn:
                    await self._maintain_ledger()

    async def _watch_kill_switch(self) -> None:
        if self._kill_switch is not None:
            with suppress(BusUnavailableError):  # asked again in a moment
                await self._kill_switch.check(self._host.clock.now_ns())

    async def _maintain_ledger(self) -> None:
        with suppress(BusUnavailableError):  # only when the daemon is to stop
            self._host.repair_journals()
            answers = [*self._host.report_trouble(), *await self._processor.check_kill_switch()]
            await self._processor.send(answers)
        await self._relay.maintain()
        await self.publish_offsets()

    async def publish_offsets(self) -> None:
        """Tell the producers upstream which of their entries they need to keep for this daemon."""
        if self._host.streams:
            with suppress(BusUnavailableError):  # published again in a moment
                await self._bus.publish_offsets(self._host.name, self._host.streams)


async def compress_journals(host: ComponentHost) -> None:
    """Compress rotated journals now and then; the folder's lock sees to it that one daemon at a time does."""
    while True:
        await asyncio.sleep(COMPRESS_EVERY_S)
        try:
            await asyncio.to_thread(compress_closed, host.journals.folder, older_than_s=COMPRESS_EVERY_S)
        except (OSError, NjordError) as error:
            _log.warning("rotated journals not compressed, tried again in %d s: %s", COMPRESS_EVERY_S, error)


async def publish_heartbeats(bus: RedisBus, report: Callable[[], dict[str, Any]], every_s: float) -> None:
    """Publish the daemon's state on ``telemetry.heartbeat``."""
    while True:
        await asyncio.sleep(every_s)
        with suppress(BusUnavailableError):
            await bus.publish_json("telemetry.heartbeat", report())


async def feed_watchdog(notifier: Notifier, waiting_for: Callable[[], str], every_s: float) -> None:
    """Show systemd that the event loop runs, whether Redis answers or not, and what the daemon waits for."""
    while True:
        reason = waiting_for()
        notifier.status(f"waits for {reason}" if reason else "serves")
        notifier.alive()
        await asyncio.sleep(every_s)


async def probe_lag(metrics: ServiceMetrics) -> None:
    """Measure how late the event loop wakes up."""
    loop = asyncio.get_running_loop()
    while True:
        began = loop.time()
        await asyncio.sleep(LAG_PROBE_S)
        metrics.loop_lag.set(max(0.0, loop.time() - began - LAG_PROBE_S))
