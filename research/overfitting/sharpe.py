"""How much of a backtest is luck: Sharpe ratios with their uncertainty, deflated by the number of trials.

Everything here is per period: a Sharpe ratio of daily returns is a daily one; divide an annual one by sqrt(365) first.
The tests on whole families of trials live in ``cscv`` and ``snooping`` beside this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, exp, inf, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from core.errors import ContractError
from research.overfitting.cscv import OverfittingProbability, probability_of_backtest_overfitting
from research.overfitting.snooping import (
    RealityCheck,
    SuperiorAbility,
    bootstrap_weights,
    reality_check,
    spa_test,
)

__all__ = [
    "OverfittingProbability",
    "RealityCheck",
    "SuperiorAbility",
    "TrackRecord",
    "bootstrap_weights",
    "deflated_best",
    "deflated_sharpe_ratio",
    "effective_trials",
    "expected_maximum_sharpe",
    "minimum_track_record_length",
    "most_trials",
    "probabilistic_sharpe_ratio",
    "probability_of_backtest_overfitting",
    "reality_check",
    "sharpe_standard_error",
    "spa_test",
]

Floats = npt.NDArray[np.float64]
_EULER: Final = float(np.euler_gamma)
_NOISE: Final = 1e-12  # a spread this small beside the returns themselves is rounding, not variation
_FEWEST: Final = 2
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What the Sharpe ratio of some returns rests on.

    Attributes:
        sharpe: mean over standard deviation, per period; riskless rate 0.
        periods: how many returns.
        skew: third standardised moment; 0 for normal returns.
        kurtosis: fourth standardised moment, not in excess; 3 for normal returns.

    Raises:
        ContractError: fewer than two periods, or numbers that are not finite.
    """

    sharpe: float
    periods: int
    skew: float = 0.0
    kurtosis: float = 3.0

    def __post_init__(self) -> None:
        if self.periods < _FEWEST:
            raise ContractError(f"TrackRecord.periods: expected at least {_FEWEST}, got {self.periods}")
        for name in ("sharpe", "skew", "kurtosis"):
            if not np.isfinite(getattr(self, name)):
                raise ContractError(f"TrackRecord.{name}: expected a finite number, got {getattr(self, name)}")

    @classmethod
    def of(cls, returns: npt.ArrayLike) -> TrackRecord:
        """From returns of shape ``(periods,)``, as fractions; without variation all but ``periods`` is as for none.

        The deviation is the sample one (n - 1), skew and kurtosis are of the population form.
        """
        values = np.asarray(returns, dtype=np.float64)
        if values.ndim != 1 or len(values) < _FEWEST or not np.isfinite(values).all():
            raise ContractError(
                f"returns: expected at least {_FEWEST} finite numbers in one row, got shape {values.shape}"
            )
        centred = values - values.mean()
        deviation = float(values.std())
        if deviation <= _NOISE * float(np.abs(values).max()):
            return cls(0.0, len(values))
        standard = centred / deviation
        return cls(
            sharpe=float(values.mean() / values.std(ddof=1)),
            periods=len(values),
            skew=float((standard**3).mean()),
            kurtosis=float((standard**4).mean()),
        )


def sharpe_standard_error(record: TrackRecord) -> float:
    """Standard error of an estimated Sharpe ratio, for returns of any shape.

    ``sqrt((1 - skew·SR + (kurtosis - 1)/4·SR²) / (T - 1))``: Mertens (2002); Bailey and López de Prado, "The Sharpe
    Ratio Efficient Frontier", Journal of Risk 15 (2012).
    """
    return sqrt(_shape(record) / (record.periods - 1))


def probabilistic_sharpe_ratio(record: TrackRecord, benchmark: float = 0.0) -> float:
    """The confidence, 0 to 1, that the true Sharpe ratio is above ``benchmark`` (per period).

    ``Φ((SR - SR*)·sqrt(T - 1) / sqrt(1 - skew·SR + (kurtosis - 1)/4·SR²))``: Bailey and López de Prado (2012).
    """
    return _NORMAL.cdf((record.sharpe - benchmark) / sharpe_standard_error(record))


def minimum_track_record_length(record: TrackRecord, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """How many periods it takes until a Sharpe ratio like this one is above ``benchmark`` with ``confidence``.

    Infinite when the ratio is not above it. Bailey and López de Prado (2012).
    """
    if not 0.5 < confidence < 1:
        raise ContractError(f"confidence: expected above 0.5 and below 1, got {confidence}")
    if record.sharpe <= benchmark:
        return inf
    return 1.0 + _shape(record) * (_NORMAL.inv_cdf(confidence) / (record.sharpe - benchmark)) ** 2


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
    """How many independent trials as many correlated ones are worth: ``ρ + (1 - ρ)·N`` with their mean correlation.

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
    """Which of the trials has the best Sharpe ratio, and its deflated Sharpe ratio.

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


def _shape(record: TrackRecord) -> float:
    """What skew and fat tails do to the variance of a Sharpe ratio, times T - 1."""
    sharpe = record.sharpe
    return max(1.0 - record.skew * sharpe + (record.kurtosis - 1.0) / 4.0 * sharpe**2, _NOISE)


def _matrix(returns: npt.ArrayLike) -> Floats:
    matrix = np.asarray(returns, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < _FEWEST or not matrix.shape[1] or not np.isfinite(matrix).all():
        raise ContractError(f"returns: expected finite numbers of shape (periods, trials), got shape {matrix.shape}")
    return matrix
