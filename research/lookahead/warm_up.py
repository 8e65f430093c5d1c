"""The warm-up of a strategy: the rows after which a later start decides as if it had always run.

Recursive indicators never forget where they began. So the decisions have to agree, not the indicators.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, cycle
from math import isnan
from typing import Final, TypeVar

import numpy as np

from research.lookahead.cuts import spread
from research.lookahead.decisions import Decision, Ints, same, when
from research.lookahead.detector import TOLERANCE, FailedCut, Run, Slicing, tried

__all__ = ["LateStart", "WarmUpReport", "find_warm_up"]

D = TypeVar("D")
MOST_STARTS: Final = 24
_PROOF: Final = 3  # decisions that have to agree before a start counts as settled
_LEADS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000)  # rows before a decision at which to start
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class LateStart:
    """One run from a later beginning.

    Attributes:
        start_ns: when its first row was known.
        rows: how many rows it had seen, the first included, when it decided as the long run did and kept to it; 1 when
            it did from the start. None when it never kept to it.
        compared: how many decisions of either run were compared.
        last_conflict_ns: when they last disagreed; 0 for never.
    """

    start_ns: int
    rows: int | None
    compared: int
    last_conflict_ns: int


@dataclass(frozen=True, slots=True)
class WarmUpReport:
    """Rows it takes until decisions no longer depend on where the data began.

    Attributes:
        declared: what the strategy says it needs; None when it says nothing.
        settled: what it needed in the worst of the starts that agreed in the end; a lower bound, as starts are samples.
        starts: those that had enough decisions to be judged.
    """

    declared: int | None
    settled: int | None
    starts: tuple[LateStart, ...]

    @property
    def never(self) -> tuple[LateStart, ...]:
        """The starts that did not come to agree."""
        return tuple(start for start in self.starts if start.rows is None)

    @property
    def covered(self) -> bool | None:
        """Whether the declared warm-up is long enough; None when nothing is declared or nothing could be seen."""
        if self.declared is None or not self.starts:
            return None
        return not self.never and self.settled is not None and self.settled <= self.declared

    def lines(self) -> list[str]:
        """For a terminal."""
        if not self.starts:
            return ["Too few decisions to tell how long the warm-up is."]
        declaration = "none is declared" if self.declared is None else f"declared: {self.declared:,}"
        lines = []
        if self.settled is not None:
            lines.append(
                f"Decisions no longer depend on where the data began after {self.settled:,} rows ({declaration}; "
                f"{len(self.starts)} later starts)."
            )
        if self.never:
            lines.append(
                f"From {len(self.never)} of {len(self.starts)} later starts it never came to decide the same: what it "
                "does depends on where the data began."
            )
            lines += [
                f"  started {when(start.start_ns)}, last disagreed {when(start.last_conflict_ns)}"
                for start in self.never[:_SHOWN]
            ]
        if self.covered is False:
            lines.append(
                "The declared warm-up is too short: ignore what the strategy decides before, or load more data."
            )
        return lines


def find_warm_up(
    run: Run[D],
    data: D,
    slicing: Slicing[D],
    *,
    declared: int | None = None,
    starts: Sequence[int] | None = None,
    most_starts: int = MOST_STARTS,
    tolerance: float = TOLERANCE,
) -> WarmUpReport:
    """Run from later beginnings and compare the positions aimed at, whenever either run decides.

    Starts are chosen one row to a thousand before decisions all over the data: short warm-ups are measured as sharply
    as long ones. Decisions without a ``target`` do not count.

    Args:
        run: the strategy, started afresh by every call.
        data: the whole of it.
        slicing: how it is cut.
        declared: rows that the strategy says it needs before its first opinion, the row of that opinion included.
        starts: times to start at, instead of chosen ones.
        most_starts: how many runs to spend.
        tolerance: relative, within which targets are equal.
    """
    full = _aims(run(data))
    times = slicing.times(data)
    decided = sorted({ts for path in full.values() for ts, _ in path})
    at = _chosen_starts(times, decided, most_starts) if starts is None else sorted(set(starts))
    counted: list[LateStart] = []
    for start in at:
        late = tried(run, slicing.since(data, start), start)
        if not isinstance(late, FailedCut):  # too little data for the strategy, so nothing to compare
            judged = _judged(full, _aims(chain.from_iterable(late.values())), start, times, tolerance)
            counted += [] if judged is None else [judged]
    settled = [start.rows for start in counted if start.rows is not None]
    return WarmUpReport(declared, max(settled, default=None), tuple(counted))


_Path = list[tuple[int, float]]


def _aims(decisions: Iterable[Decision]) -> dict[str, _Path]:
    """The targets by symbol, after every time at which there was a decision."""
    paths: dict[str, dict[int, float]] = {}
    for decision in decisions:
        if not isnan(decision.target):
            paths.setdefault(decision.symbol, {})[decision.ts_ns] = decision.target
    return {symbol: sorted(paths[symbol].items()) for symbol in sorted(paths)}


def _chosen_starts(times: Ints, decided: Sequence[int], most: int) -> list[int]:
    rows = np.searchsorted(times, np.asarray(decided, dtype=np.int64), side="right") - 1
    picked = spread(rows[rows > 0], most)
    start_rows = {max(row - lead, 1) for row, lead in zip(picked, cycle(_LEADS), strict=False)}
    return sorted(int(times[row]) for row in start_rows if row < len(times))


def _judged(
    full: dict[str, _Path], late: dict[str, _Path], start: int, times: Ints, tolerance: float
) -> LateStart | None:
    checked: list[tuple[int, bool]] = []
    for symbol in sorted({*full, *late}):
        checked += _agreements(full.get(symbol, []), late.get(symbol, []), start, tolerance)
    if len(checked) < _PROOF:
        return None
    last = max((ts for ts, agree in checked if not agree), default=0)
    agreed_since = sum(ts > last for ts, _ in checked)
    first = int(np.searchsorted(times, start))
    seen = int(np.searchsorted(times, last, side="right")) - first
    rows = 1 if not last else seen + 1
    return LateStart(start, rows if agreed_since >= _PROOF else None, len(checked), last)


def _agreements(full: _Path, late: _Path, start: int, tolerance: float) -> list[tuple[int, bool]]:
    """Whether both aim at the same after each time at which either decided, from the start on."""
    long = {ts: target for ts, target in full if ts >= start}
    short = dict(late)
    full_target = next((target for ts, target in reversed(full) if ts < start), 0.0)
    aimed, agreements = 0.0, []
    for ts in sorted({*long, *short}):
        full_target, aimed = long.get(ts, full_target), short.get(ts, aimed)
        agreements.append((ts, same(full_target, aimed, tolerance)))
    return agreements
