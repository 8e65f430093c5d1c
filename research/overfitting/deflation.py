"""Deflated Sharpe ratios: the confidence in the best of many trials, less what luck alone would have shown.

Everything here is per period: a Sharpe ratio of daily returns is a daily one; divide an annual one by sqrt(365) first.
The tests on whole families of trials live in ``cscv`` and ``snooping`` beside this module.
"""

from __future__ import annotations

from math import e, exp, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from core.errors import ContractError
from core.statistics import TrackRecord, probabilistic_sharpe_ratio

Floats = npt.NDArray[np.float64]
_EULER: Final = float(np.euler_gamma)
_NOISE: Final = 1e-12  # a spread this small beside the returns themselves is rounding, not variation
_FEWEST: Final = 2
_NORMAL: Final = NormalDist()


def expected_maximum_sharpe(trials: float, variance: float) -> float:
    """The Sharpe ratio that the best of so many trials shows on average when none of them has an edge.

    ``sqrt(V)·((1 - γ)·Φ⁻¹(1 - 1/N) + γ·Φ⁻¹(1 - 1/(N·e)))`` with Euler's γ: Bailey and López de Prado, "The Deflated
    Sharpe Ratio", Journal of Portfolio Management 40 (2014). One trial is no choice: 0.

    Args:
        trials: independent ones; see ``effective_trials``.
        variance: of the Sharpe ratios across trials, per period.

    Raises:
        ContractError: fewer than one trial, or a negative variance.
    """
    if trials < 1 or variance < 0:
        raise ContractError(f"expected at least 1 trial and a variance of at least 0, got {trials} and {variance}")
    if trials == 1:
        return 0.0
    upper = -(1.0 - _EULER) * _NORMAL.inv_cdf(1.0 / trials) - _EULER * _NORMAL.inv_cdf(1.0 / (trials * e))
    return max(sqrt(variance) * upper, 0.0)


def deflated_sharpe_ratio(record: TrackRecord, trials: float, variance: float | None = None) -> float:
    """The confidence, 0 to 1, that the best of so many trials has an edge; below 0.95, luck explains it.

    A probabilistic Sharpe ratio against what the best of as many worthless trials shows: Bailey and López de Prado
    (2014).

    Args:
        record: of the trial that was chosen.
        trials: how many were looked at, the discarded ones included.
        variance: of the Sharpe ratios across trials, per period; without it, that of trials without an edge,
            ``1 / (T - 1)``.
    """
    spread = 1.0 / (record.periods - 1) if variance is None else variance
    return probabilistic_sharpe_ratio(record, expected_maximum_sharpe(trials, spread))


def most_trials(record: TrackRecord, confidence: float = 0.95, variance: float | None = None) -> float:
    """The number of trials up to which the deflated Sharpe ratio keeps to ``confidence``; 0 when one is too many.

    At most 1e9, which stands for any number.
    """
    if deflated_sharpe_ratio(record, 1, variance) < confidence:
        return 0.0
    low, high = 0.0, float(np.log(1e9))
    if deflated_sharpe_ratio(record, exp(high), variance) >= confidence:
        return 1e9
    while high - low > 1e-6:
        middle = (low + high) / 2
        if deflated_sharpe_ratio(record, exp(middle), variance) >= confidence:
            low = middle
        else:
            high = middle
    return exp(low)


def effective_trials(returns: npt.ArrayLike) -> float:
    """The number of independent trials that correlated ones are worth: ``ρ + (1 - ρ)·N`` with their mean correlation.

    Bailey and López de Prado (2014), appendix. Trials that never moved do not count; a negative mean counts as 0.

    Args:
        returns: of shape ``(periods, trials)``.
    """
    matrix = _matrix(returns)
    deviation = matrix.std(axis=0)
    moving = deviation > _NOISE * np.abs(matrix).max(axis=0)
    trials = int(moving.sum())
    if trials < 2:
        return 1.0
    standard = (matrix[:, moving] - matrix[:, moving].mean(axis=0)) / deviation[moving]
    total = float((standard.sum(axis=1) ** 2).mean())  # sum of all correlations, without the matrix of them
    mean = min(max((total - trials) / (trials * (trials - 1)), 0.0), 1.0)
    return mean + (1.0 - mean) * trials


def deflated_best(returns: npt.ArrayLike, trials: float | None = None) -> tuple[int, float]:
    """The trial with the best Sharpe ratio, by its column, and its deflated Sharpe ratio.

    Args:
        returns: of shape ``(periods, trials)``.
        trials: how many independent ones these are; all of them by default, which is the strict reading.
    """
    matrix = _matrix(returns)
    sharpes = np.array([TrackRecord.of(column).sharpe for column in matrix.T])
    best = int(sharpes.argmax())
    spread = float(sharpes.var(ddof=1)) if len(sharpes) > 1 else 0.0
    record = TrackRecord.of(matrix[:, best])
    return best, deflated_sharpe_ratio(record, len(sharpes) if trials is None else trials, spread)


def _matrix(returns: npt.ArrayLike) -> Floats:
    matrix = np.asarray(returns, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < _FEWEST or not matrix.shape[1] or not np.isfinite(matrix).all():
        raise ContractError(f"returns: expected finite numbers of shape (periods, trials), got shape {matrix.shape}")
    return matrix
