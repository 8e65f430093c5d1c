"""The rehearsal of the fleet: the real daemons, a virtual day, seeded faults; then everything must add up.

``python -m backtest.simulation.rehearsal --seed 17`` runs one seed, ``--seeds 200`` many. The same seed does the same
to the last byte; one that fails is printed with the command that repeats it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backtest.simulation.session import Report

ALL = "all"


def rehearse(seed: int, *, minutes: float = 1.0, faults: str | Sequence[str] = ALL, keep: Path | None = None) -> Report:
    """Run one seed.

    Args:
        seed: draws the market, every latency, and which fault strikes when.
        minutes: virtual time under faults; the fleet comes to rest after it.
        faults: ``all``, ``none``, or names of kinds.
        keep: an empty folder for what is written; a temporary one when left out.

    Raises:
        ConfigError: an unknown kind of fault, or ``keep`` is not empty.
    """
    from backtest.simulation.session import run

    return run(seed, minutes, faults, keep)


if __name__ == "__main__":
    from backtest.simulation.command import main
    from core.console import adapt_console

    adapt_console()
    sys.exit(main())
