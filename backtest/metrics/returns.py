"""Periodic returns of an equity curve, and the figures on them.

Returns are fractions (0.01 is one percent) per period; ``per_year`` is how many of them a year has. All functions take
any length, also none, and answer a finite number; a ratio with nothing below the line is settled by ``ratio``.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DAY_NS: Final = 86_400_000_000_000
UNBOUNDED: Final = 1e9
"""Stands for infinity, which JSON cannot hold: what a ratio gives when there is gain and nothing to divide it by."""
NOISE: Final = 1e-12  # a spread this small beside the returns themselves is rounding, not variation


def ratio(above: float, below: float) -> float:
    """``above / below`` within ±``UNBOUNDED``; with nothing below: 0 for 0, else the bound of that sign."""
    if below == 0.0:
        return 0.0 if above == 0.0 else (UNBOUNDED if above > 0 else -UNBOUNDED)
    return min(max(above / below, -UNBOUNDED), UNBOUNDED)


def changes(values: Floats) -> Floats:
    """From each value to the next as a fraction, along the last axis: a capital, or many in rows.

    A capital that reaches zero is lost: -1, and 0 from then on, whatever is traded on credit afterwards.
    """
    solvent = np.logical_and.accumulate(values > 0, axis=-1)[..., :-1]
    base = np.where(solvent, values[..., :-1], 1.0)
    return np.where(solvent, np.maximum(values[..., 1:], 0.0) / base - 1.0, 0.0)


def daily_closes(ts_ns: Ints, equity: Floats) -> tuple[Ints, Floats]:
    """The curve at its start and at every UTC midnight after it, the last day as far as it goes.

    A point at midnight belongs to the day that ends there; a day without points keeps the value of the one before. The
    first day counts only when there is more than its first point to see of it.

    Returns:
        The days as numbers since the epoch and the values; the first of both is where the curve starts from.
    """
    if not len(ts_ns):
        return np.empty(0, np.int64), np.empty(0)
    day = (ts_ns - 1) // DAY_NS
    last_of_day = np.flatnonzero(np.append(day[1:] != day[:-1], True))
    days = np.arange(day[0], day[-1] + 1)
    at = last_of_day[np.searchsorted(day[last_of_day], days, side="right") - 1]
    if last_of_day[0] == 0:
        return days, equity[at]
    return np.insert(days, 0, days[0] - 1), np.insert(equity[at], 0, equity[0])


def spread(returns: Floats) -> float:
    """Sample standard deviation (n - 1) per period; 0 for fewer than two returns and for mere rounding."""
    if len(returns) < 2:
        return 0.0
    deviation = float(returns.std(ddof=1))
    return 0.0 if deviation <= NOISE * float(np.abs(returns).max()) else deviation


def volatility_annual_pct(returns: Floats, per_year: float) -> float:
    """Percent a year: sample standard deviation times sqrt(per_year)."""
    return 100.0 * spread(returns) * sqrt(per_year)


def sharpe_ratio(returns: Floats, per_year: float) -> float:
    """Mean over sample standard deviation, times sqrt(per_year); riskless rate 0; 0 without variation.

    Source: Sharpe, "The Sharpe Ratio", Journal of Portfolio Management 21 (1994).
    """
    deviation = spread(returns)
    return ratio(float(returns.mean()) * sqrt(per_year), deviation) if deviation else 0.0


def sortino_ratio(returns: Floats, per_year: float) -> float:
    """Mean over downside deviation sqrt(mean(min(r, 0)²)), times sqrt(per_year); target 0.

    Source: Sortino and Price, "Performance Measurement in a Downside Risk Framework", Journal of Investing 3 (1994).
    """
    if not len(returns):
        return 0.0
    downside = sqrt(float(np.square(np.minimum(returns, 0.0)).mean()))
    return ratio(float(returns.mean()) * sqrt(per_year), downside)


def skew(returns: Floats) -> float:
    """Third standardised moment, population form m3 / m2^1.5; 0 without variation."""
    return _standardised_moment(returns, 3)


def excess_kurtosis(returns: Floats) -> float:
    """Fourth standardised moment less 3, population form m4 / m2² - 3 (Fisher); 0 without variation."""
    return _standardised_moment(returns, 4) - 3.0 if spread(returns) else 0.0


def _standardised_moment(returns: Floats, order: int) -> float:
    deviation = spread(returns)
    if not deviation:
        return 0.0
    standard = (returns - returns.mean()) / float(returns.std())
    return float((standard**order).mean())


def value_at_risk_95_pct(returns: Floats) -> float:
    """The fifth percentile of returns in percent, linear between ranks: one period in twenty is worse; mostly negative.

    Source: historical simulation, Jorion, "Value at Risk", chapter 10.
    """
    return 100.0 * float(np.percentile(returns, 5)) if len(returns) else 0.0


def expected_shortfall_95_pct(returns: Floats) -> float:
    """Mean in percent of the worst twentieth of returns, at least one of them.

    Source: Acerbi and Tasche, "On the coherence of expected shortfall", Journal of Banking & Finance 26 (2002).
    """
    if not len(returns):
        return 0.0
    worst = (len(returns) - 1) // 20 + 1
    return 100.0 * float(np.partition(returns, worst - 1)[:worst].mean())


def tail_ratio(returns: Floats) -> float:
    """|95th percentile| / |5th percentile|: above 1 the good tail is the longer one.

    Source: the definition of pyfolio and empyrical.
    """
    if not len(returns):
        return 0.0
    low, high = np.percentile(returns, (5, 95))
    return ratio(abs(float(high)), abs(float(low)))


def best_pct(returns: Floats) -> float:
    """The largest return in percent; 0 when there is none."""
    return 100.0 * float(returns.max()) if len(returns) else 0.0


def worst_pct(returns: Floats) -> float:
    """The smallest return in percent; 0 when there is none."""
    return 100.0 * float(returns.min()) if len(returns) else 0.0


def cagr_pct(start: float, end: float, years: float) -> float:
    """Compound annual growth in percent, 100 * ((end / start)^(1 / years) - 1); -100 when nothing is left.

    Over less than some months this blows chance up to a rate: read it with the length of the period.
    """
    if start <= 0 or years <= 0:
        return 0.0
    if end <= 0:
        return -100.0
    growth = np.log(end / start) / years
    return min(100.0 * float(np.expm1(min(growth, 100.0))), UNBOUNDED)
