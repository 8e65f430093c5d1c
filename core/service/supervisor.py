"""The supervisor of a service: it starts it again in the same process when the disk refused what it had to record.

What the disk refused did not happen: the state in memory is dropped, and the next start folds the ledger. While
nothing can be written the daemon stays reachable and says why; nothing is decided meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from math import inf
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge

from core.disk import OS_DISK, Disk, can_write
from core.errors import JournalWriteError
from core.retry import Backoff, BackoffPolicy, Draw, unspread
from core.service.daemon import Service
from core.service.health import HealthServer
from core.service.settings import ServiceSettings
from core.service.systemd import Notifier
from core.tasks import wait_up_to

START_AGAIN: Final = BackoffPolicy(initial_s=0.1, cap_s=2.0, healthy_after_s=0.0)
LOG_EVERY: Final = 30  # tries between two log lines about a disk that stays as it is: half a minute to a minute
_log: Final = logging.getLogger("njord.service")

Start = Callable[[JournalWriteError | None], Service]


class Supervisor:
    """Runs one daemon through every disk failure until it ends by itself or is told to.

    Args:
        name: the daemon.
        start: makes a service from what is on disk, given what an earlier one could not write.
            Raises JournalWriteError when not even the ledger can be opened.
        settings: where the daemon answers while there is no service.
        disk: what is probed.
        notifier: the process's line to systemd.
        draw: spreads the tries.
    """

    def __init__(
        self,
        name: str,
        start: Start,
        settings: ServiceSettings,
        *,
        disk: Disk = OS_DISK,
        notifier: Notifier | None = None,
        draw: Draw = unspread,
    ) -> None:
        self.starts = 0
        self._name = name
        self._start = start
        self._settings = settings
        self._disk = disk
        self._draw = draw
        self._notifier = notifier or Notifier()
        self._stopping = asyncio.Event()
        self._service: Service | None = None

    async def run(self) -> None:
        """Serve. Raises FatalError; JournalWriteError only when the daemon was told to end before it could write."""
        trouble: JournalWriteError | None = None
        backoff = Backoff(START_AGAIN, self._draw)
        while True:
            self.starts += 1
            service = None
            try:
                service = self._service = self._start(trouble)
                await service.run()
            except JournalWriteError as error:
                if service is not None and service.asked_to_stop:
                    raise
                trouble = error
                if service is not None and service.was_ready:
                    backoff.reset()
                _log.error("%s starts again when it can write: %s", self._name, error)
            else:
                return
            await self._until_writable(trouble, backoff)
            if self._stopping.is_set():
                raise trouble

    def _handle_signals(self) -> None:
        """Until the next service has handlers of its own: it may be told to end while it still reads its ledger."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)

    def _end(self) -> None:
        self._stopping.set()
        self._notifier.stopping()
        if self._service is not None:
            self._service.stop()

    def _report(self, trouble: JournalWriteError) -> dict[str, Any]:
        return {
            "daemon": self._name,
            "pid": os.getpid(),
            "alive": True,
            "ready": False,
            "waiting_for": f"the disk: {trouble}",
            "trouble": str(trouble),
        }

    async def _until_writable(self, trouble: JournalWriteError, backoff: Backoff) -> None:
        """Wait for the disk, answering meanwhile; at least for one delay."""
        registry = CollectorRegistry()
        labels = {"daemon": self._name}
        gauge = Gauge("njord_journal_trouble", "Whether something cannot be written", list(labels), registry=registry)
        gauge.labels(**labels).set(1)
        port = self._settings.port
        self._handle_signals()
        self._notifier.status(f"waits for the disk: {trouble}")
        longest_s = (self._notifier.watchdog_s or inf) / 2
        health = None
        if port is not None:
            health = HealthServer(lambda: self._report(trouble), registry, self._settings.bind_host, port)
            await health.start()
        try:
            tries = 0
            while not self._stopping.is_set():
                self._notifier.alive()
                await wait_up_to(self._stopping, min(backoff.failed(), longest_s))
                if can_write(trouble.path, self._disk):
                    return
                tries += 1
                if tries % LOG_EVERY == 0:
                    _log.error("%s still waits: %s", self._name, trouble)
        finally:
            if health is not None:
                await health.close()
