"""The invariants of a fleet's files, as tests ask for them; ``backtest.simulation.world.invariants`` has the rules.

The rehearsal judges by the same rules, while the fleet runs.
"""

from __future__ import annotations

from backtest.simulation.world.invariants import (
    assert_hold,
    journal,
    journal_files,
    parsed,
    streams_of,
    violations,
    waiting,
)

__all__ = ["assert_hold", "journal", "journal_files", "parsed", "streams_of", "violations", "waiting"]
