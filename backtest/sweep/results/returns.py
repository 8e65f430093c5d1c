"""The moments of the returns of many sets, for the trial log, row by row in one go.

A row's figures depend on that row alone, to the last bit, however many others are worked out beside it: what a sweep
finds must not depend on how it was cut into chunks.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from backtest.metrics.returns import NOISE, UNBOUNDED, Floats

RETURN_COLUMNS: Final = (
    "sharpe_per_period", "returns_count", "returns_mean", "returns_variance", "returns_skew", "returns_kurtosis",
)  # fmt: skip
"""Of the periodic returns; the kurtosis is the excess over a normal distribution's."""


def figures_of_rows(returns: Floats) -> Floats:
    """``RETURN_COLUMNS`` of the returns in each row, by the definitions of ``backtest.metrics.returns``.

    Args:
        returns: of shape (sets, periods).

    Returns:
        Of shape (sets, len(RETURN_COLUMNS)), finite.
    """
    sets, count = returns.shape
    figures = np.zeros((sets, len(RETURN_COLUMNS)))
    if count:
        figures[:, 1], figures[:, 2] = count, returns.mean(axis=1)
    if count > 1:
        deviation = returns.std(axis=1, ddof=1)
        moves = deviation > NOISE * np.abs(returns).max(axis=1)
        moving, deviation, mean = returns[moves], deviation[moves], figures[moves, 2]
        standard = (moving - mean[:, None]) / moving.std(axis=1)[:, None]
        figures[moves, 0], figures[moves, 3] = mean / deviation, deviation**2
        figures[moves, 4], figures[moves, 5] = (standard**3).mean(axis=1), (standard**4).mean(axis=1) - 3.0
    return np.clip(figures, -UNBOUNDED, UNBOUNDED, out=figures)
