"""Patience: how long a test waits for what it cannot drive, on the machine as busy as it is at that moment.

Every limit is written for a quiet machine. ``load_factor`` stretches it by how many processes want each core, so that a
loaded machine is no failure and a wait that never ends still is one. ``NJORD_TEST_PATIENCE`` multiplies all of them.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

DEFAULT_LIMIT_S: Final = 60.0
GLANCE_S: Final = 0.02  # between two looks at a condition of another process
MOST_FACTOR: Final = 40.0
_LOAD: Final = Path("/proc/loadavg")
_CORES: Final = os.cpu_count() or 1


def load_factor() -> float:
    """How many times longer than on a quiet machine something may take now: 1 to 40, times ``NJORD_TEST_PATIENCE``."""
    asked_for = float(os.environ.get("NJORD_TEST_PATIENCE", "1"))
    return asked_for * min(max(1.0, _runnable() / _CORES), MOST_FACTOR)


def patience(limit_s: float) -> float:
    """The limit for a call that takes a fixed time-out, in seconds, stretched by the load at this moment."""
    return limit_s * load_factor()


class Deadline:
    """A limit that is stretched while the machine is busy, also by what makes it busy after the wait began."""

    def __init__(self, limit_s: float = DEFAULT_LIMIT_S) -> None:
        self.limit_s = limit_s
        self._begun = time.monotonic()
        self._factor = load_factor()

    @property
    def passed(self) -> bool:
        """Whether the wait took longer than the busiest moment since its beginning excuses."""
        taken = time.monotonic() - self._begun
        if taken <= self.limit_s * self._factor:
            return False
        self._factor = max(self._factor, load_factor())
        return taken > self.limit_s * self._factor

    def __str__(self) -> str:
        return f"{self.limit_s * self._factor:.0f} s ({self.limit_s:g} s times a load of {self._factor:.1f})"


def wait_until(
    condition: Callable[[], object],
    limit_s: float = DEFAULT_LIMIT_S,
    what: str = "the condition",
    glance_s: float = GLANCE_S,
) -> None:
    """Wait for a condition of the outside world, which has no clock that a test could drive.

    Raises:
        AssertionError: it did not come true in time; whatever ``condition`` raises passes through.
    """
    deadline = Deadline(limit_s)
    while not condition():
        assert not deadline.passed, f"{what}: did not come true in {deadline}"
        time.sleep(glance_s)


async def until(
    condition: Callable[[], object],
    limit_s: float = DEFAULT_LIMIT_S,
    what: str = "the condition",
    glance_s: float = GLANCE_S,
) -> None:
    """``wait_until`` for a test in an event loop, which goes on meanwhile."""
    deadline = Deadline(limit_s)
    while not condition():
        assert not deadline.passed, f"{what}: did not come true in {deadline}"
        await asyncio.sleep(glance_s)


def within(limit_s: float) -> asyncio.Timeout:
    """The time-out of a block that awaits: ``async with within(5): …``."""
    return asyncio.timeout(patience(limit_s))


async def other_tasks() -> None:
    """One turn of the event loop for every other task that is ready."""
    await asyncio.sleep(0)


async def interval(seconds: float) -> None:
    """``pause`` for a test in an event loop."""
    await asyncio.sleep(seconds)


def pause(seconds: float) -> None:
    """An interval that is part of what a test does to the outside world (a server stays away, a strike waits its turn).

    Never a wait for something to have happened: ``wait_until`` is for that.
    """
    time.sleep(seconds)


def _runnable() -> float:
    """How many processes want to run: the average of the last minute, or the number at this moment if it is more."""
    try:
        average, _, _, now, _ = _LOAD.read_text().split()
    except (OSError, ValueError):
        return os.getloadavg()[0]
    return max(float(average), float(now.partition("/")[0]))
