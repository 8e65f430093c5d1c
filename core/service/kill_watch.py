"""Watches the kill switch, a file and a Redis key: every change is logged, and an event for who decides on orders."""

from __future__ import annotations

import logging
from typing import Final

from core import kill_switch
from core.bus import RedisBus
from core.contracts import KillSwitchEvent

FRESH_S: Final = 0.02  # age up to which the key's value that came with the entries is taken for what it is now
_log: Final = logging.getLogger("njord.kill_switch")


class KillSwitchWatch:
    """Asks both switches and answers when their state differs from what the component was last given.

    Args:
        path: the switch file.
        bus: where the key is asked for; None when there is no Redis (an embedded fleet).
        key: the Redis key.

    Attributes:
        reported: whether the component was last given a tripped switch; a host sets it from its ledger.
        source: what trips it, as of the last look; empty when nothing does.
    """

    def __init__(self, path: str, bus: RedisBus | None = None, key: str = "") -> None:
        self._path = path
        self._bus = bus
        self._key = key
        self.reported = False
        self.source = ""

    @property
    def key(self) -> str | None:
        """The Redis key, for the bus to read along with what is to be decided; None without Redis."""
        return self._key if self._bus is not None else None

    @property
    def tripped(self) -> bool:
        """Whether it was tripped when it was last looked at."""
        return bool(self.source)

    async def check(self, now_ns: int) -> KillSwitchEvent | None:
        """The change since the last check, or None. Raises BusUnavailableError when the key cannot be asked for."""
        source = self._tripped_file()
        if not source and self._bus is not None:
            # What came along with an intent was read after the intent was written: it is new enough to decide on.
            value = await self._bus.get(self._key, max_age_s=FRESH_S)
            source = f"key {self._key}" if kill_switch.value_trips(value) else ""
        return self._change(source, now_ns)

    def check_file(self, now_ns: int) -> KillSwitchEvent | None:
        """The same for the file alone, without waiting."""
        return self._change(self._tripped_file(), now_ns)

    def _tripped_file(self) -> str:
        return f"file {self._path}" if kill_switch.file_tripped(self._path) else ""

    def _change(self, source: str, now_ns: int) -> KillSwitchEvent | None:
        if source and source != self.source:
            _log.warning("the kill switch is tripped by %s: nothing is traded until it is cleared", source)
        elif self.source and not source:
            _log.warning("the kill switch is cleared: trading goes on")
        self.source = source
        if self.tripped == self.reported:
            return None
        self.reported = self.tripped
        return KillSwitchEvent(self.tripped, source or "cleared", now_ns)
