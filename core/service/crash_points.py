"""The places between a daemon's effects at which a test may end it: the proof needs a name for each.

In production nothing happens there. ``NJORD_CRASH_AT=after_journal:17`` ends the process by SIGKILL the
seventeenth time it passes that place; a rehearsal hands in its own function.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Final

from core.errors import ConfigError

VARIABLE: Final = "NJORD_CRASH_AT"
BEFORE_APPLY: Final = "before_apply"  # a batch was received, nothing is processed
AFTER_APPLY: Final = "after_apply"  # the batch is processed in memory
AFTER_JOURNAL: Final = "after_journal"  # what it answered is on disk, nothing has left
AFTER_RELAY: Final = "after_relay"  # the bus has confirmed it
IN_JOURNAL: Final = "in_journal"  # the ledger is synced, the journals projected from it are not written yet
POINTS: Final = (BEFORE_APPLY, AFTER_APPLY, IN_JOURNAL, AFTER_JOURNAL, AFTER_RELAY)

Reach = Callable[[str], None]


def nowhere(_: str) -> None:
    """Production: go on."""


def from_environment(environ: Mapping[str, str]) -> Reach:
    """What the variable asks for. Raises ConfigError for an unknown place."""
    asked = environ.get(VARIABLE, "")
    if not asked:
        return nowhere
    place, _, count = asked.partition(":")
    if place not in POINTS or not (count or "1").isdigit():
        raise ConfigError(f"{VARIABLE}: expected one of {', '.join(POINTS)} and :count, got {asked!r}")
    left = int(count or "1")

    def reach(name: str) -> None:
        nonlocal left
        if name == place:
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGKILL)

    return reach
