"""Does a strategy hear the prices it is handed: run it on wholly other ones, and count what it decides all the same.

Cutting and changing data only judges what a strategy takes from it. One that reads its signals elsewhere, such as from
a table made beforehand over all the data, comes out of that spotless; but it decides the same whatever the prices are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from research.lookahead import TOLERANCE, D, FailedCut, Run, Slicing, tried
from research.lookahead_decisions import alike, grouped

_WORLDS: Final = 3  # one of them alone may happen to lead to the same decisions
_SAME: Final = 0.9  # a share of equal decisions that no other prices lead to
_FEWEST: Final = 5  # times of decisions; fewer may well be the same


@dataclass(frozen=True, slots=True)
class OutsideReport:
    """What was seen. ``decided_at`` counts times with decisions; ``same`` is the share that no prices changed."""

    decided_at: int
    same: float
    worlds: int

    @property
    def deaf(self) -> bool:
        """Whether the prices do not matter to it: it goes by the clock alone, or by what it read elsewhere."""
        return self.worlds > 0 and self.decided_at >= _FEWEST and self.same >= _SAME

    def lines(self) -> list[str]:
        """For a terminal."""
        if not self.worlds or self.decided_at < _FEWEST:
            return ["Too few decisions to tell whether prices lead to them."]
        if not self.deaf:
            return [f"Other prices lead to other decisions ({self.worlds} runs)."]
        return [
            f"{100 * self.same:.0f} % of the decisions come out the same on wholly other prices ({self.worlds} runs).",
            "  It goes by the clock alone, or by data that it opened for itself, which nobody can cut. Let a function",
            "  make it out of the data (--build, FromData) to have it judged.",
        ]


def find_outside_knowledge(run: Run[D], data: D, slicing: Slicing[D], rng: np.random.Generator) -> OutsideReport:
    """Run on the data and on made-up prices from its first row on. ``rng`` is seeded.

    Args:
        run: the strategy, started afresh by every call.
        data: the whole of it.
        slicing: how another future is made.
        rng: of the made-up prices.
    """
    whole = grouped(run(data))
    shares: list[float] = []
    for _ in range(_WORLDS if len(whole) >= _FEWEST else 0):
        other = tried(run, slicing.disturbed(data, 0, rng), 0)
        if not isinstance(other, FailedCut):
            kept = sum(alike(decisions, other.get(key, ()), TOLERANCE) for key, decisions in whole.items())
            shares.append(kept / len(whole))
    return OutsideReport(len(whole), min(shares, default=0.0), len(shares))
