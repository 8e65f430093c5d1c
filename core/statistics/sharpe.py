"""The Sharpe ratio and its uncertainty, per period: a ratio of daily returns is a daily one.

Divide an annual ratio by sqrt(365) first.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from core.errors import ContractError

_NOISE: Final = 1e-12  # a spread this small beside the returns themselves is rounding, not variation
_FEWEST: Final = 2
_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """The Sharpe ratio of some returns and the moments that its uncertainty rests on.

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
    """The number of periods until a Sharpe ratio like this one is above ``benchmark`` with ``confidence``.

    Infinite when the ratio is not above it. Bailey and López de Prado (2012).
    """
    if not 0.5 < confidence < 1:
        raise ContractError(f"confidence: expected above 0.5 and below 1, got {confidence}")
    if record.sharpe <= benchmark:
        return inf
    return 1.0 + _shape(record) * (_NORMAL.inv_cdf(confidence) / (record.sharpe - benchmark)) ** 2


def _shape(record: TrackRecord) -> float:
    """The factor of skew and fat tails in the variance of a Sharpe ratio, times T - 1."""
    sharpe = record.sharpe
    return max(1.0 - record.skew * sharpe + (record.kurtosis - 1.0) / 4.0 * sharpe**2, _NOISE)
