"""Lint rules on where the profit comes from: too few trades, one trade, one day, one month, one kind of market."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from math import ceil, sqrt
from typing import Final

import numpy as np

from backtest.lint.case import Case
from backtest.lint.finding import Finding, Severity
from backtest.metrics.formatting import minute, moment, number, percent
from backtest.metrics.returns import DAY_NS, Floats
from core.exact import ordered_sum

_SURE: Final = 1.96  # standard errors that make 95 %
_WIDE: Final = 0.2  # an interval of a win rate wider than this says little
_LARGE: Final = 0.5  # a part of the profit that is too much for one trade or day
_FEW_DAYS: Final = 90
_REGIME_DAYS: Final = 10  # days that each of two regimes must have to be compared
_TREND_DAYS: Final = 5
_EXACT: Final = 1.0 + 1e-9  # profits are sums of floats


def few_trades(case: Case) -> Iterator[Finding]:
    """Whether the average trade can be told from nothing: mean over its standard error."""
    count, advice = len(case.pnl), "Test on more data or more symbols before believing the profit."
    if not count:
        traded = bool(case.result.round_trips)
        yield Finding(
            "few_trades",
            Severity.WARNING,
            f"No trade was closed: the strategy {'only opened positions' if traded else 'never traded'}.",
            advice if traded else "Look for refused orders, and at the parameters: does it ever want to trade here?",
        )
        return
    mean = float(case.pnl.mean())
    if mean <= 0:
        return
    if count == 1:
        yield Finding("few_trades", Severity.SERIOUS, "The whole result is one trade.", advice, 1.0)
        return
    error = float(case.pnl.std(ddof=1)) / sqrt(count)
    if mean >= _SURE * error:
        return
    needed = ceil(count * (_SURE * error / mean) ** 2)
    yield Finding(
        "few_trades",
        Severity.WARNING,
        f"The average trade of {case.money(mean, signed=True)} is uncertain by ±{case.money(_SURE * error)} (95%), so "
        f"{count:,} trades do not tell it from zero; about {needed:,} of this kind would.",
        advice,
        mean / error,
    )


def vague_win_rate(case: Case) -> Iterator[Finding]:
    """Wilson's interval of the win rate. Wilson, Journal of the American Statistical Association 22 (1927)."""
    count = len(case.pnl)
    if count < 2:  # few_trades speaks of one
        return
    rate, z2 = float((case.pnl > 0).mean()), _SURE**2
    centre = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = _SURE / (1 + z2 / count) * sqrt(rate * (1 - rate) / count + z2 / (4 * count**2))
    if 2 * half > _WIDE:
        low, high = (percent(100 * value, decimals=0) for value in (centre - half, centre + half))
        yield Finding(
            "vague_win_rate",
            Severity.INFO,
            f"The win rate of {percent(100 * rate, decimals=0)} in {count:,} trades is anything from {low} to {high} "
            "(95%).",
            "Do not build on it, nor on sizes computed from it.",
            2 * half,
        )


def one_trade(case: Case) -> Iterator[Finding]:
    """Whether the best trade makes the profit."""
    total = float(case.pnl.sum())
    if len(case.pnl) < 2 or total <= 0:
        return
    best = max(case.closed, key=lambda trip: trip.pnl)
    if best.pnl <= _LARGE * total:
        return
    yield Finding(
        "one_trade",
        Severity.SERIOUS if best.pnl >= total else Severity.WARNING,
        f"One trade, opened {minute(best.ts_open)}, made {case.money(best.pnl)}; all others together made "
        f"{case.money(total - best.pnl, signed=True)}.",
        "Look at that trade: would you bet on another one like it?",
        best.pnl / total,
    )


def one_day(case: Case) -> Iterator[Finding]:
    """Whether the best day makes the profit."""
    if len(case.day_pnl) < 3 or case.net <= 0:
        return
    at = int(case.day_pnl.argmax())
    best = float(case.day_pnl[at])
    if best <= _LARGE * case.net:
        return
    yield Finding(
        "one_day",
        Severity.SERIOUS if best >= case.net else Severity.WARNING,
        f"One day, {_day(int(case.days[at]))}, made {case.money(best)}; the other {len(case.day_pnl) - 1:,} days made "
        f"{case.money(case.net - best, signed=True)}.",
        "See what happened that day, and whether it was the strategy or the news.",
        best / case.net,
    )


def one_month(case: Case) -> Iterator[Finding]:
    """Whether all profit was made in one calendar month."""
    months: dict[str, float] = {}
    for day, pnl in zip(case.days.tolist(), case.day_pnl.tolist(), strict=True):
        name = _day(day)[:7]
        months[name] = months.get(name, 0.0) + pnl
    if len(months) < 2 or case.net <= 0:
        return
    best = max(months, key=lambda name: months[name])
    rest = case.net - months[best]
    if rest > 0:
        return
    yield Finding(
        "one_month",
        Severity.WARNING,
        f"All profit comes from {best} ({case.money(months[best], signed=True)}); the other "
        f"{'month' if len(months) == 2 else f'{len(months) - 1:,} months'} "
        f"brought {case.money(rest, signed=True)}.",
        "Run it on other years; a strategy for one month needs a rule that says when that month is.",
        months[best] / case.net,
    )


def one_regime(case: Case) -> Iterator[Finding]:
    """Whether all profit was made in rising or falling, quiet or busy markets only; both known at the day's end."""
    market = case.market_days
    if case.net <= 0 or len(market) < 2 * _REGIME_DAYS:
        return
    trend = np.array([np.prod(1.0 + market[max(at - _TREND_DAYS + 1, 0) : at + 1]) - 1.0 for at in range(len(market))])
    size = np.abs(market)
    for first, second, mask in (
        ("rising", "falling", trend > 0),
        ("busy", "quiet", size > np.median(size)),
    ):
        if min(mask.sum(), (~mask).sum()) < _REGIME_DAYS:
            continue
        parts = {first: float(case.day_pnl[mask].sum()), second: float(case.day_pnl[~mask].sum())}
        good, bad = sorted(parts, key=lambda name: -parts[name])
        if parts[bad] <= 0 and _sure(case.day_pnl[mask], case.day_pnl[~mask]):
            yield Finding(
                "one_regime",
                Severity.WARNING,
                f"All profit comes from {good} markets ({case.money(parts[good], signed=True)}); in {bad} ones it made "
                f"{case.money(parts[bad], signed=True)}.",
                f"Expect it to lose when the market turns {bad}, or trade it in {good} ones only and test that rule.",
                parts[bad],
            )


def short_history(case: Case) -> Iterator[Finding]:
    """Whether the data is long enough to have seen more than one kind of market."""
    ts_ns = case.measured.ts_ns
    days = (int(ts_ns[-1]) - int(ts_ns[0])) / DAY_NS if len(ts_ns) else 0.0
    if days < _FEW_DAYS:
        yield Finding(
            "short_history",
            Severity.INFO,
            f"The data covers {number(days, 1)} days, which is one kind of market.",
            "Test on years that rose, fell and went nowhere.",
            days,
        )


def open_position(case: Case) -> Iterator[Finding]:
    """Whether the profit is in a position that nobody has closed."""
    open_pnl = ordered_sum(trip.pnl for trip in case.result.round_trips if trip.is_open)
    if open_pnl > 0 and 0 < case.net <= open_pnl * _EXACT:
        yield Finding(
            "open_position",
            Severity.SERIOUS,
            f"The position open at the end stands at {case.money(open_pnl, signed=True)}; all that was closed made "
            f"{case.money(case.net - open_pnl, signed=True)}.",
            "Judge what was closed, or run on until it is closed.",
            open_pnl,
        )


def last_day(case: Case) -> Iterator[Finding]:
    """Whether a run that ended a day earlier would have been a loss."""
    if len(case.day_pnl) < 3 or case.net <= 0:
        return
    last = float(case.day_pnl[-1])
    if case.net - last <= 0:
        yield Finding(
            "last_day",
            Severity.SERIOUS,
            f"The last day made {case.money(last, signed=True)}; a day earlier the result was "
            f"{case.money(case.net - last, signed=True)}.",
            "A result that hangs on where the data ends is none; move the end about.",
            last,
        )


def _sure(first: Floats, other: Floats) -> bool:
    """Whether two kinds of days differ by more than their scatter (Welch)."""
    error = sqrt(float(first.var(ddof=1)) / len(first) + float(other.var(ddof=1)) / len(other))
    return abs(float(first.mean() - other.mean())) > _SURE * error


def _day(day: int) -> str:
    return (moment(0) + timedelta(days=day)).date().isoformat()
