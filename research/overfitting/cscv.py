"""Probability of backtest overfitting: how often the best of many trials in one half of the data is poor in the other.

Bailey, Borwein, López de Prado and Zhu, "The Probability of Backtest Overfitting", Journal of Computational Finance 20
(2017), by combinatorially symmetric cross-validation: every half of the blocks serves once for choosing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from core.errors import ContractError

Floats = npt.NDArray[np.float64]
Criterion = Literal["sharpe", "mean"]
_ROOM: Final = 2**22  # numbers per array at work: 32 MB
_MOST_BLOCKS: Final = 20  # 184,756 combinations
_NOISE: Final = 1e-12


@dataclass(frozen=True, eq=False)
class OverfittingProbability:
    """The outcome of the cross-validation.

    Attributes:
        pbo: share of combinations whose chosen trial does no better than the median in the other half; 0.5 is what
            choosing among worthless trials gives, near 0 is good.
        logits: of shape ``(combinations,)``: ``ln(ω / (1 - ω))`` of the chosen trial's relative rank ω out of sample.
        performance_in: of the chosen trial where it was chosen, shape ``(combinations,)``.
        performance_out: of the same in the other half.
        degradation_slope: of the regression of ``performance_out`` on ``performance_in``; below 0, the better a
            backtest looks, the worse it turns out.
        degradation_intercept: of the same.
        probability_of_loss: share of combinations whose chosen trial loses out of sample.
        trials, blocks: what was looked at.
    """

    pbo: float
    logits: Floats
    performance_in: Floats
    performance_out: Floats
    degradation_slope: float
    degradation_intercept: float
    probability_of_loss: float
    trials: int
    blocks: int


def probability_of_backtest_overfitting(
    returns: npt.ArrayLike, blocks: int = 16, criterion: Criterion = "sharpe"
) -> OverfittingProbability:
    """Choose the best trial in every half of the blocks, judge it in the other.

    Ties rank in the middle; a trial without variation has a Sharpe ratio of 0.

    Args:
        returns: of shape ``(periods, trials)``, fractions per period, one column per set of parameters tried.
        blocks: even, 2 to 20; neighbouring periods stay together. 16 make 12,870 combinations.
        criterion: what the best is chosen by, ``sharpe`` or ``mean``.

    Raises:
        ContractError: fewer than two trials, blocks that are odd or leave fewer than two periods each.
    """
    matrix = np.asarray(returns, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[1] < 2 or not np.isfinite(matrix).all():
        raise ContractError(
            f"returns: expected finite numbers of shape (periods, trials), 2 trials or more, got shape {matrix.shape}"
        )
    periods, trials = matrix.shape
    if blocks % 2 or not 2 <= blocks <= min(_MOST_BLOCKS, periods // 2):
        raise ContractError(
            f"blocks: expected an even number from 2 to {_MOST_BLOCKS} with two periods each, got {blocks} for "
            f"{periods} periods"
        )
    sums = _BlockSums(matrix, blocks, criterion)
    parts = [_judged(sums, halves) for halves in _halves(blocks, max(_ROOM // max(trials, blocks), 1))]
    inside, outside, ranks = (np.concatenate(column) for column in zip(*parts, strict=True))
    omega = ranks / (trials + 1)
    slope, intercept = _line(inside, outside)
    return OverfittingProbability(
        pbo=float((omega <= 0.5).mean()),
        logits=np.log(omega / (1.0 - omega)),
        performance_in=inside,
        performance_out=outside,
        degradation_slope=slope,
        degradation_intercept=intercept,
        probability_of_loss=float((outside < 0).mean()),
        trials=trials,
        blocks=blocks,
    )


class _BlockSums:
    """Sums per block, from which the performance on any set of blocks follows without touching the returns again."""

    def __init__(self, matrix: Floats, blocks: int, criterion: Criterion) -> None:
        edges = np.linspace(0, len(matrix), blocks + 1).astype(np.int64)
        self._mean = matrix.mean(axis=0)
        centred = matrix - self._mean  # so that the squares lose no digits to a large mean
        self._first = np.add.reduceat(centred, edges[:-1], axis=0)
        self._second = np.add.reduceat(np.square(centred), edges[:-1], axis=0)
        self._length = np.diff(edges).astype(np.float64)
        self._floor = _NOISE * np.abs(matrix).max(axis=0)
        self._criterion = criterion

    def performance(self, trials: Floats) -> Floats:
        """Of every trial (columns) on every set of blocks (rows); ``chosen`` is 1 where a block belongs to the set."""
        count = (trials @ self._length)[:, None]
        offset = trials @ self._first / count
        mean: Floats = self._mean + offset
        if self._criterion == "mean":
            return mean
        variance = np.maximum(trials @ self._second / count - np.square(offset), 0.0) * count / (count - 1.0)
        deviation = np.sqrt(variance)
        varies = deviation > self._floor
        return np.where(varies, mean / np.where(varies, deviation, 1.0), 0.0)


def _judged(sums: _BlockSums, halves: Floats) -> tuple[Floats, Floats, Floats]:
    """Performance of each half's best there and in the other half, and its rank there, 1 being the worst."""
    inside, outside = sums.performance(halves), sums.performance(1.0 - halves)
    best = inside.argmax(axis=1)[:, None]
    got = np.take_along_axis(outside, best, axis=1)
    worse, equal = (outside < got).sum(axis=1), (outside == got).sum(axis=1)
    return np.take_along_axis(inside, best, axis=1)[:, 0], got[:, 0], worse + (equal + 1.0) / 2.0


def _halves(blocks: int, rows: int) -> Iterator[Floats]:
    """All ways to take half of the blocks, as rows of 0 and 1, so many at a time."""
    ways = combinations(range(blocks), blocks // 2)
    while some := list(islice(ways, rows)):
        halves = np.zeros((len(some), blocks))
        np.put_along_axis(halves, np.array(some), 1.0, axis=1)
        yield halves


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Slope and intercept of least squares; a level line where x does not vary."""
    centred = x - x.mean()
    square = float(centred @ centred)
    slope = float(centred @ y) / square if square > _NOISE * len(x) * float(np.abs(x).max()) ** 2 else 0.0
    return slope, float(y.mean()) - slope * float(x.mean())
