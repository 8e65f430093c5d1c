"""The places between a daemon's effects at which a test may end it, by name.

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
AFTER_JOURNAL: Final = "after_journal"  # the answers are on disk, none has been sent
AFTER_RELAY: Final = "after_relay"  # the bus has confirmed it
IN_JOURNAL: Final = "in_journal"  # the ledger is synced, the journals projected from it are not written yet
POINTS: Final = (BEFORE_APPLY, AFTER_APPLY, IN_JOURNAL, AFTER_JOURNAL, AFTER_RELAY)

Reach = Callable[[str], None]


def nowhere(_: str) -> None:
    """Production: go on."""


def from_environment(environ: Mapping[str, str]) -> Reach:
    """The function that ends the process where the variable says. Raises ConfigError for an unknown place."""
    setting = environ.get(VARIABLE, "")
    if not setting:
        return nowhere
    place, _, count = setting.partition(":")
    if place not in POINTS or not (count or "1").isdigit():
        raise ConfigError(f"{VARIABLE}: expected one of {', '.join(POINTS)} and :count, got {setting!r}")
    passes = int(count or "1")

    def reach(name: str) -> None:
        nonlocal passes
        if name == place:
            passes -= 1
            if passes == 0:
                signal.raise_signal(signal.SIGKILL)

    return reach
