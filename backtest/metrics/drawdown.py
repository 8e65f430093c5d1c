"""Drawdowns, from a peak of the equity curve to its recovery: depth, length and share of the time.

Depths are positive numbers. A curve that falls below zero has a drawdown of more than 100 %; where not even the peak is
above zero there is nothing to lose, and the depth is 0.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from backtest.metrics.returns import DAY_NS, Floats, Ints, ratio


def drawdowns(equity: Floats) -> Floats:
    """At each point the loss since the highest point so far, as a positive fraction of that peak."""
    peak = np.maximum.accumulate(equity)
    usable = peak > 0
    return np.where(usable, 1.0 - equity / np.where(usable, peak, 1.0), 0.0)


def max_drawdown_pct(depth: Floats) -> float:
    """The deepest of ``drawdowns`` in percent, a positive number."""
    return 100.0 * float(depth.max()) if len(depth) else 0.0


def max_drawdown_money(equity: Floats) -> float:
    """The largest loss since a peak in quote currency, a positive number."""
    return float((np.maximum.accumulate(equity) - equity).max()) if len(equity) else 0.0


def max_drawdown_duration_days(ts_ns: Ints, equity: Floats) -> float:
    """Days from a peak until it is reached again, or to the end of the curve: the longest of them."""
    if len(equity) < 2:
        return 0.0
    at_peak = equity >= np.maximum.accumulate(equity)
    peak_at = np.maximum.accumulate(np.where(at_peak, np.arange(len(equity)), 0))
    in_drawdown = ~at_peak[1:] | ~at_peak[:-1]
    return float(np.where(in_drawdown, ts_ns[1:] - ts_ns[peak_at[:-1]], 0).max()) / DAY_NS


def time_in_drawdown_pct(ts_ns: Ints, equity: Floats) -> float:
    """Share of the time in percent that ends below an earlier peak, bar by bar."""
    if len(equity) < 2:
        return 0.0
    below = equity[1:] < np.maximum.accumulate(equity)[1:]
    return 100.0 * min(ratio(float(np.diff(ts_ns)[below].sum()), float(ts_ns[-1] - ts_ns[0])), 1.0)


def ulcer_index(depth: Floats) -> float:
    """Root of the mean square of the drawdown in percent, over every point of the curve.

    Source: Martin and McCann, "The Investor's Guide to Fidelity Funds" (1989).
    """
    return 100.0 * sqrt(float(np.square(depth).mean())) if len(depth) else 0.0
