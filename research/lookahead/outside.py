"""The detector of outside knowledge: a strategy is given wholly other prices, and the same prices in another year.

Cutting and changing data only judges what a strategy takes from it. A strategy may read its signals elsewhere, such as
from a table computed over all the data, and pass those tests. But it decides the same on any prices, or finds nothing
in its table at other times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from research.lookahead.decisions import Groups, alike, grouped
from research.lookahead.detector import TOLERANCE, D, FailedCut, Run, Slicing, tried

_WORLDS: Final = 3  # one of them alone may happen to lead to the same decisions
_HALF: Final = 0.5  # honest strategies are far from it on either side
_FEWEST: Final = 5  # times of decisions; fewer may well be the same


@dataclass(frozen=True, slots=True)
class OutsideReport:
    """The result of the runs on other prices and in another year.

    Attributes:
        decided_at: times with decisions.
        same: share of them that wholly other prices did not change.
        worlds: in how many runs on such prices.
        later: share of them that came out the same when the same prices came in another year.
        error: how the run in another year failed, if it did.
    """

    decided_at: int
    same: float
    worlds: int
    later: float = 1.0
    error: str = ""

    @property
    def deaf(self) -> bool:
        """Whether the prices do not matter to it: it goes by the clock alone, or by what it read elsewhere."""
        return self.worlds > 0 and self.decided_at >= _FEWEST and self.same >= _HALF

    @property
    def dated(self) -> bool:
        """Whether the date matters to it more than the prices do."""
        return self.decided_at >= _FEWEST and self.later < _HALF

    @property
    def elsewhere(self) -> bool:
        """Whether something else than the prices leads to its decisions."""
        return self.deaf or self.dated

    def lines(self) -> list[str]:
        """For a terminal."""
        if not self.worlds or self.decided_at < _FEWEST:
            return ["Too few decisions to tell whether prices lead to them."]
        findings = []
        if self.deaf:
            findings.append(f"{100 * self.same:.0f}% of the decisions come out the same on wholly other prices.")
        if self.dated:
            how = f" ({self.error})" if self.error else ""
            findings.append(f"{100 - 100 * self.later:.0f}% are gone when the same prices come in another year{how}.")
        if not findings:
            return [f"Other prices lead to other decisions, other dates do not ({self.worlds + 1} runs)."]
        return [
            *findings,
            "  It goes by the calendar, or by data that it opened for itself, which nobody can cut. Let a function",
            "  make it out of the data (--build, FromData) to have it judged.",
        ]


def find_outside_knowledge(
    run: Run[D], data: D, slicing: Slicing[D], rng: np.random.Generator, moved: Callable[[D, int], D], by_ns: int
) -> OutsideReport:
    """Run on made-up prices from the first row on, and on the same prices at other times. ``rng`` is seeded.

    Args:
        run: the strategy, started afresh by every call.
        data: the whole of it.
        slicing: how another future is made.
        rng: of the made-up prices.
        moved: the data with all its times moved on by so many nanoseconds.
        by_ns: by how many; whole weeks leave the hours of the day and the days of the week as they are.
    """
    full = grouped(run(data))
    shares = []
    for _ in range(_WORLDS if len(full) >= _FEWEST else 0):
        other = tried(run, slicing.disturbed(data, 0, rng), 0)
        if not isinstance(other, FailedCut):
            shares.append(_share(full, other, 0))
    later = tried(run, moved(data, by_ns), by_ns)
    same = min(shares, default=0.0)
    if isinstance(later, FailedCut):
        return OutsideReport(len(full), same, len(shares), 0.0, later.error)
    return OutsideReport(len(full), same, len(shares), _share(full, later, by_ns))


def _share(full: Groups, other: Groups, by_ns: int) -> float:
    """Share of the decisions that are there as well, so much later."""
    kept = sum(
        alike(decisions, other.get((ts + by_ns, symbol), ()), TOLERANCE) for (ts, symbol), decisions in full.items()
    )
    return kept / len(full) if full else 1.0
