"""Clocks: time is injected. Decision code sees only the time of events; hosts see a ``Clock``."""

from __future__ import annotations

import time
from typing import Final, Protocol

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000
NS_PER_MINUTE: Final = 60 * NS_PER_S
NS_PER_DAY: Final = 24 * 60 * NS_PER_MINUTE


class Clock(Protocol):
    """A source of the time, UTC epoch nanoseconds."""

    def now_ns(self) -> int:
        """The time now, UTC epoch nanoseconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ns(self) -> int:
        """The machine's time, UTC epoch nanoseconds."""
        return time.time_ns()


class EventClock:
    """Time as the events tell it: it stands at the latest event seen and never goes back.

    ``backwards`` counts the events that were older than the clock by more than ``tolerance_ns``.
    """

    def __init__(self, start_ns: int = 0, tolerance_ns: int = 5 * NS_PER_S) -> None:
        self._now = start_ns
        self._tolerance = tolerance_ns
        self.backwards = 0

    def now_ns(self) -> int:
        """The time of the latest event, UTC epoch nanoseconds."""
        return self._now

    def advance_to(self, ts_ns: int) -> int:
        """Move to ``ts_ns`` unless that lies in the past; returns the time now."""
        if ts_ns > self._now:
            self._now = ts_ns
        elif self._now - ts_ns > self._tolerance:
            self.backwards += 1
        return self._now
