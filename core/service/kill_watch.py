"""Turns the kill switch, a file and a Redis key, into events for a component: told on every change."""

from __future__ import annotations

from typing import Final

from core import kill_switch
from core.bus import RedisBus
from core.contracts import KillSwitchEvent

FRESH_S: Final = 0.02  # age up to which the key's value that came with the entries is taken for what it is now


class KillSwitchWatch:
    """Asks both switches and answers when their state differs from what the component was last told.

    Args:
        path: the switch file.
        bus: where the key is asked for; None when there is no Redis (an embedded fleet).
        key: the Redis key.

    Attributes:
        told: whether the component was last told that the switch is tripped; a host sets it from its ledger.
    """

    def __init__(self, path: str, bus: RedisBus | None = None, key: str = "") -> None:
        self._path = path
        self._bus = bus
        self._key = key
        self.told = False

    @property
    def key(self) -> str | None:
        """The Redis key, for the bus to read along with what is to be decided; None without Redis."""
        return self._key if self._bus is not None else None

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
        tripped = bool(source)
        if tripped == self.told:
            return None
        self.told = tripped
        return KillSwitchEvent(tripped, source or "cleared", now_ns)
