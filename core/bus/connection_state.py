"""The connection of a process's readers to their server: which of them have lost it, and how often it was lost."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from core.errors import BusUnavailableError

_log: Final = logging.getLogger("njord.bus")


class ConnectionState:
    """The state that the readers of one bus share: each loses the server, and finds it again, at its own time.

    Attributes:
        connected: set while every reader has the server.
        losses: connections lost, one for all readers, not attempts to get them back.
    """

    def __init__(self) -> None:
        self.connected = asyncio.Event()
        self.losses = 0
        self._down = False
        self._apart: set[str] = set()  # readers without the server
        self._logged_until = 0.0  # loop time before which the outage need not be logged again

    def expect(self, reader: str) -> None:
        """Wait for a reader that has not got the server yet."""
        self._apart.add(reader)

    def restored(self, reader: str) -> None:
        """A reader has the server again."""
        self._down = False
        self._apart.discard(reader)
        if not self._apart:
            self.connected.set()

    def interrupted(self, reader: str) -> None:
        """A reader has lost its connection; whether the server is gone is to be seen."""
        self._apart.add(reader)
        self.connected.clear()

    def lost(self, reader: str, error: BusUnavailableError, delay_s: float, now: float) -> None:
        """A reader has lost the server and tries again in ``delay_s``; counted and logged once for all readers."""
        self.interrupted(reader)
        if not self._down:
            self._down = True
            self.losses += 1
        if now >= self._logged_until:
            self._logged_until = now + delay_s
            _log.warning("%s; trying again in %.2f s", error, delay_s)
