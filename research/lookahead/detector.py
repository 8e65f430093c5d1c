"""Detectors of look-ahead: they run a strategy without the future, or with another one, and compare the past.

A strategy is a function from data to decisions, and a ``Slicing`` says how its data is cut. So anything that decides
can be judged, a frame as well as an engine. Data that a strategy reads for itself is not cut, and not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, Literal, TypeVar

import numpy as np

from research.lookahead.cuts import chosen_cuts
from research.lookahead.decisions import Decision, Groups, Ints, Key, alike, differing, grouped, shown, when

__all__ = ["Change", "Decision", "FailedCut", "LookaheadReport", "Slicing", "find_future_dependence", "find_lookahead"]

D = TypeVar("D")
Run = Callable[[D], Iterable[Decision]]
Manner = Literal["truncated", "disturbed", "repeated"]
MOST_CUTS: Final = 40
MOST_DISTURBED: Final = 12
_FUTURES: Final = 2  # other futures for each cut: one of them alone may happen to lead to the same decision
TOLERANCE: Final = 1e-9
_SHOWN: Final = 10
_SENTENCES: Final = {
    "truncated": "without the data after {cut}",
    "disturbed": "with other data after {cut}",
    "repeated": "in a second run on the same data",
}


@dataclass(frozen=True)
class Slicing(Generic[D]):
    """The slicing in time of one kind of data.

    Attributes:
        times: when each row is known, ascending, in UTC epoch ns.
        until: the rows known at or before a time.
        since: the rows known at a time or after it.
        disturbed: the rows known after a time made up anew, the others as they were.
    """

    times: Callable[[D], Ints]
    until: Callable[[D, int], D]
    since: Callable[[D, int], D]
    disturbed: Callable[[D, int, np.random.Generator], D]


@dataclass(frozen=True, slots=True)
class Change:
    """A decision that another future changed.

    Attributes:
        ts_ns, symbol: which one.
        with_future, without_future: what it was, in words.
        cut_ns: the data was as it was up to this time.
        manner: what was done to the data after it: ``truncated``, ``disturbed``, or nothing (``repeated``).
        needs_ns: the decision came out as it did from data up to here on; 0 where that was not searched for.
        rows_ahead: how many rows later that is.
    """

    ts_ns: int
    symbol: str
    with_future: str
    without_future: str
    cut_ns: int
    manner: Manner
    needs_ns: int = 0
    rows_ahead: int = 0

    def __str__(self) -> str:
        sentence = _SENTENCES[self.manner].format(cut=when(self.cut_ns))
        ahead = f"; it needs {self.rows_ahead:,} rows more, up to {when(self.needs_ns)}" if self.needs_ns else ""
        return f"{when(self.ts_ns)} {self.symbol}: {self.with_future}; {sentence}: {self.without_future}{ahead}"


@dataclass(frozen=True, slots=True)
class FailedCut:
    """A run on cut data that ended in an error: it proves nothing, unless all do."""

    cut_ns: int
    error: str


@dataclass(frozen=True, slots=True)
class LookaheadReport:
    """The result of a search. ``decisions`` counts those of the whole run, ``cuts`` the runs compared with it."""

    decisions: int
    cuts: int
    changes: tuple[Change, ...]
    failed: tuple[FailedCut, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether no decision changed; false as well when every cut failed, for then nothing was seen."""
        return not self.changes and (self.cuts > len(self.failed) or not self.failed)

    @property
    def rows_ahead(self) -> int:
        """The rows that the furthest-sighted decision looked ahead, as far as searched; 0 for none."""
        return max((change.rows_ahead for change in self.changes), default=0)

    def lines(self) -> list[str]:
        """For a terminal."""
        if any(change.manner == "repeated" for change in self.changes):
            head = (
                f"{len(self.changes):,} of {self.decisions:,} decisions came out otherwise in a second run on the same "
                "data: the strategy draws chance or keeps something from run to run, so nothing else can be said of it."
            )
        elif self.changes:
            head = f"{len(self.changes):,} of {self.decisions:,} decisions knew the future ({self.cuts} runs)."
        elif not self.clean:
            head = f"Nothing could be checked: the strategy failed in every one of {self.cuts} runs."
        else:
            count = "1 decision" if self.decisions == 1 else f"{self.decisions:,} decisions"
            head = f"No decision depends on what comes after it ({count}, {self.cuts} runs)."
        rest = len(self.changes) - _SHOWN
        failed = [f"  failed on data up to {when(cut.cut_ns)}: {cut.error}" for cut in self.failed[:3]]
        return [
            head,
            *(f"  {change}" for change in self.changes[:_SHOWN]),
            *([f"  and {rest:,} more"] if rest > 0 else []),
            *failed,
            *([f"  and {len(self.failed) - 3:,} more failed cuts"] if len(self.failed) > 3 else []),
        ]


def find_lookahead(
    run: Run[D],
    data: D,
    slicing: Slicing[D],
    *,
    cuts: Sequence[int] | None = None,
    most_cuts: int = MOST_CUTS,
    tolerance: float = TOLERANCE,
) -> LookaheadReport:
    """Run on data that ends earlier, and name every decision up to there that comes out otherwise.

    A decision that looks one row ahead is only seen by a cut right after it, so cuts are made at decisions first, then
    beside them and all over the data (see ``chosen_cuts``); how far the found ones look is searched for by halving.

    Args:
        run: the strategy, started afresh by every call.
        data: the whole of it.
        slicing: how it is cut.
        cuts: the times to cut at, instead of chosen ones.
        most_cuts: how many runs to spend on the search.
        tolerance: relative, within which numbers are equal.
    """
    full = grouped(run(data))
    unsteady = _changes(full, grouped(run(data)), _last(slicing.times(data)), "repeated", tolerance)
    if unsteady:
        return _report(full, 1, {change.ts_ns: change for change in unsteady}.values(), ())
    times = slicing.times(data)
    at = chosen_cuts(times, [ts for ts, _ in full], most_cuts) if cuts is None else sorted(set(cuts))
    first_change: dict[Key, Change] = {}
    failed: list[FailedCut] = []
    for cut in at:
        part = tried(run, slicing.until(data, cut), cut)
        if isinstance(part, FailedCut):
            failed.append(part)
            continue
        for change in _changes(full, part, cut, "truncated", tolerance):
            first_change.setdefault((change.ts_ns, change.symbol), change)
    for change in _extremes(first_change.values()):
        first_change[change.ts_ns, change.symbol] = _reach(run, data, slicing, full, change, tolerance)
    return _report(full, len(at), first_change.values(), failed)


def find_future_dependence(
    run: Run[D],
    data: D,
    slicing: Slicing[D],
    rng: np.random.Generator,
    *,
    cuts: Sequence[int] | None = None,
    most_cuts: int = MOST_DISTURBED,
    tolerance: float = TOLERANCE,
) -> LookaheadReport:
    """Run on data whose future is another one, and name every decision before it that comes out otherwise.

    Finds what truncating cannot: a strategy that makes do when its glimpse of the future is missing. ``rng`` is seeded.
    """
    full = grouped(run(data))
    at = chosen_cuts(slicing.times(data), [ts for ts, _ in full], most_cuts) if cuts is None else sorted(set(cuts))
    first_change: dict[Key, Change] = {}
    failed: list[FailedCut] = []
    for cut in [cut for cut in at for _ in range(_FUTURES)]:
        part = tried(run, slicing.disturbed(data, cut, rng), cut)
        if isinstance(part, FailedCut):
            failed.append(part)
            continue
        for change in _changes(full, part, cut, "disturbed", tolerance):
            first_change.setdefault((change.ts_ns, change.symbol), change)
    return _report(full, _FUTURES * len(at), first_change.values(), failed)


def tried(run: Run[D], data: D, cut_ns: int) -> Groups | FailedCut:
    """The decisions of a run on cut data, or how it failed."""
    try:
        return grouped(run(data))
    except Exception as error:  # noqa: BLE001 - somebody's strategy on data it was not made for: any error is an answer
        return FailedCut(cut_ns, f"{type(error).__name__}: {error}")


def _changes(full: Groups, part: Groups, cut_ns: int, manner: Manner, tolerance: float) -> list[Change]:
    return [
        Change(key[0], key[1], shown(full.get(key, ())), shown(part.get(key, ())), cut_ns, manner)
        for key in differing(full, part, cut_ns, tolerance)
    ]


def _extremes(changes: Iterable[Change]) -> list[Change]:
    """Of those found: the one nearest to its cut and the one furthest before it."""
    ordered = sorted(changes, key=lambda change: (change.cut_ns - change.ts_ns, change.ts_ns))
    return ordered[:1] + ordered[1:][-1:]


def _reach(run: Run[D], data: D, slicing: Slicing[D], full: Groups, change: Change, tolerance: float) -> Change:
    """The change with the time from which on the data makes it what it was, found by halving."""
    times, key = slicing.times(data), (change.ts_ns, change.symbol)
    row = max(int(np.searchsorted(times, change.ts_ns, side="right")) - 1, 0)
    without, enough = int(np.searchsorted(times, change.cut_ns, side="right")) - 1, len(times) - 1
    while enough - without > 1:
        middle = (without + enough) // 2
        part = tried(run, slicing.until(data, int(times[middle])), int(times[middle]))
        fine = not isinstance(part, FailedCut) and alike(full.get(key, ()), part.get(key, ()), tolerance)
        without, enough = (without, middle) if fine else (middle, enough)
    return replace(change, needs_ns=int(times[enough]), rows_ahead=enough - row)


def _report(full: Groups, cuts: int, changes: Iterable[Change], failed: Iterable[FailedCut]) -> LookaheadReport:
    ordered = sorted(changes, key=lambda change: (change.ts_ns, change.symbol))
    return LookaheadReport(sum(map(len, full.values())), cuts, tuple(ordered), tuple(failed))


def _last(times: Ints) -> int:
    return int(times[-1]) + 10**18 if len(times) else 0
