"""Lint rules on how much was tried: Sharpe ratios too good, deflated ones too poor, best sets on edges and peaks."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Final

import numpy as np

from backtest.lint.case import Case
from backtest.lint.finding import Finding, Severity
from backtest.lint.search import Search
from backtest.metrics.formatting import duration, number, percent
from research.overfitting import (
    TrackRecord,
    deflated_sharpe_ratio,
    minimum_track_record_length,
    most_trials,
    sharpe_standard_error,
)

_GOOD: Final = 3.0  # Sharpe ratios a year that hardly anybody has
_TOO_GOOD: Final = 6.0
_CONFIDENT: Final = 0.95
_FEW_RETURNS: Final = 10
_MANY_TRIALS: Final = 1_000.0
_INSIDE: Final = 3  # values that a parameter must have to have an inside
_LONELY: Final = 0.5  # of the best: what its neighbours must reach


def sharpe_too_good(case: Case) -> Iterator[Finding]:
    """A Sharpe ratio that the best funds do not reach."""
    sharpe, record = case.result.sharpe_ratio, _record(case)
    if sharpe <= _GOOD or case.net <= 0 or record is None:
        return
    per_year = sqrt(case.measured.per_year)
    error = per_year * sharpe_standard_error(record)
    yield Finding(
        "sharpe_too_good",
        Severity.SERIOUS if sharpe > _TOO_GOOD else Severity.WARNING,
        f"A Sharpe ratio of {number(sharpe)} is more than the best funds have; from {record.periods:,} returns of "
        f"{_period(case)} it is uncertain by ±{number(1.96 * error)}.",
        "Look for a look-ahead first (njord-ctl honesty), then for costs that are missing.",
        sharpe,
    )


def luck(case: Case) -> Iterator[Finding]:
    """The deflated Sharpe ratio, given how many variants were tried."""
    record = _record(case)
    if record is None or case.net <= 0 or record.sharpe <= 0:
        return
    tried = case.trials or (0 if case.sweep is None else len(case.sweep))
    spread = _spread(case)
    confidence = deflated_sharpe_ratio(record, max(tried, 1), spread)
    if confidence >= _CONFIDENT:
        if tried:
            return
        most = most_trials(record)
        if most < _MANY_TRIALS:
            yield Finding(
                "luck",
                Severity.INFO,
                f"Luck explains the Sharpe ratio as soon as more than {int(most):,} variants were tried.",
                "Count everything you tried, and give it as --trials.",
                most,
            )
        return
    trials = f"given {tried:,} variants tried" if tried > 1 else "even if it was the only variant tried"
    needed = minimum_track_record_length(record)
    yield Finding(
        "luck",
        Severity.SERIOUS if confidence < 0.5 else Severity.WARNING,
        f"The confidence that there is any edge is {percent(100 * confidence, decimals=0)} (deflated Sharpe ratio "
        f"{confidence:.2f}, {trials}); it takes 95 %"
        + (f", and {_length(case, needed)} of returns like these at the least." if np.isfinite(needed) else "."),
        "Take it as luck until data that nobody has looked at says otherwise.",
        confidence,
    )


def on_the_edge(search: Search) -> Iterator[Finding]:
    """Parameters at the end of what was tried: the best may lie beyond."""
    for name in () if search.row is None else search.names:
        values = search.table[name].to_numpy()
        if not np.issubdtype(values.dtype, np.number) or len(np.unique(values)) < _INSIDE:
            continue
        value = values[search.row]
        if value in (values.min(), values.max()):
            end = "smallest" if value == values.min() else "largest"
            yield Finding(
                "on_the_edge",
                Severity.WARNING,
                f"{name} = {value:g} is the {end} value that was tried.",
                "Search beyond it: the optimum is not inside what was looked at.",
                float(value),
            )


def lonely_peak(search: Search) -> Iterator[Finding]:
    """A set whose neighbours are much worse: a coincidence, not a place to stand."""
    if search.row is None or not search.names or "sharpe_ratio" not in search.table:
        return
    from backtest.sweep.space.neighbours import neighbours_median

    own = float(search.table["sharpe_ratio"].iloc[search.row])
    (around,) = neighbours_median(search.table, search.names, "sharpe_ratio", [search.row])
    if around is None or not own > 0 or around >= _LONELY * own:
        return
    yield Finding(
        "lonely_peak",
        Severity.SERIOUS if around <= 0 else Severity.WARNING,
        f"The Sharpe ratio is {number(own)} here and {number(around)} (median) one step away in the parameters.",
        "Choose a plateau instead: the next sample will not hit the same spot.",
        around,
    )


def _record(case: Case) -> TrackRecord | None:
    returns = case.measured.returns
    return TrackRecord.of(returns) if len(returns) >= _FEW_RETURNS and case.result.round_trips else None


def _spread(case: Case) -> float | None:
    """The variance of the Sharpe ratios that were tried, per period; None where the search is not known."""
    table = case.sweep
    if table is None or len(table) < 2:
        return None
    if "sharpe_per_period" in table:
        sharpes = table["sharpe_per_period"].to_numpy(np.float64)
    elif "sharpe_ratio" in table and case.measured.per_year:
        sharpes = table["sharpe_ratio"].to_numpy(np.float64) / sqrt(case.measured.per_year)
    else:
        return None
    finite = sharpes[np.isfinite(sharpes)]
    return float(finite.var(ddof=1)) if len(finite) > 1 else None


def _period(case: Case) -> str:
    return "a day" if case.measured.daily else duration(case.measured.return_period_s)


def _length(case: Case, periods: float) -> str:
    return duration(periods * case.measured.return_period_s)
