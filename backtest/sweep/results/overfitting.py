"""The correction for the number of trials: deflated Sharpe ratios, the probability of backtest overfitting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from backtest.metrics.returns import Floats
from backtest.sweep.results.results import Results

if TYPE_CHECKING:
    from research.overfitting import OverfittingProbability

_PARTS: Final = 16  # of the cross-validation, fewer where the returns are


def deflated_sharpes(results: Results, sharpes: list[float]) -> Floats:
    """For every set, the confidence that it has an edge, given all trials ever made; NaN where there are no returns.

    Args:
        sharpes: of all trials ever made on this data, per period.
    """
    from research.overfitting import TrackRecord, deflated_sharpe_ratio

    confidences = np.full(len(results.sets), np.nan)
    if not results.columns:
        return confidences
    spread = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    names = ("sharpe_per_period", "returns_count", "returns_skew", "returns_kurtosis")
    columns = (results.column(name).tolist() for name in names)
    for number, (sharpe, count, skew, kurtosis) in enumerate(zip(*columns, strict=True)):
        if count == count and count >= 2:
            record = TrackRecord(sharpe, int(count), skew, kurtosis + 3.0)
            confidences[number] = deflated_sharpe_ratio(record, max(1, len(sharpes)), spread)
    return confidences


def overfitting(returns: npt.NDArray[Any]) -> OverfittingProbability | None:
    """Of the kept returns, a row per set; None for fewer than two sets that came out, or fewer than four returns."""
    from research.overfitting import probability_of_backtest_overfitting

    complete = returns[np.isfinite(returns).all(axis=1)]
    parts = min(_PARTS, complete.shape[1] // 2 // 2 * 2)
    if len(complete) < 2 or parts < 2:
        return None
    return probability_of_backtest_overfitting(complete.T, parts)
