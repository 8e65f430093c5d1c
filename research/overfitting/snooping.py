"""Tests for data snooping, by bootstrap: White's reality check and Hansen's SPA test on the best of many trials.

Both ask how often the best of so many worthless trials looks as good; blocks of random length keep the dependence from
period to period. Chance comes in as a seeded generator, so that a result can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log, sqrt
from typing import Final

import numpy as np
import numpy.typing as npt

from core.errors import ContractError

Floats = npt.NDArray[np.float64]
_ROOM: Final = 2**22  # numbers per array at work: 32 MB
_NOISE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class RealityCheck:
    """White's test. ``p_value`` is the chance that the best of worthless trials looks this good; ``statistic`` is
    ``sqrt(T)`` times the best mean, ``best`` the column it is of."""

    statistic: float
    p_value: float
    best: int
    replicates: int
    mean_block: float


@dataclass(frozen=True, slots=True)
class SuperiorAbility:
    """Hansen's test. ``p_value`` is the consistent one; ``p_lower`` leaves out all poor trials, ``p_upper`` none.

    ``statistic`` is the best t-value, 0 when no trial beats the benchmark; ``best`` is the column it is of.
    """

    statistic: float
    p_value: float
    p_lower: float
    p_upper: float
    best: int
    replicates: int
    mean_block: float


def bootstrap_weights(rng: np.random.Generator, periods: int, replicates: int, mean_block: float) -> Floats:
    """The share of each period in each stationary bootstrap sample, over ``periods``: rows that sum to 1.

    Blocks start anywhere, run around the end, and are of geometric length. Politis and Romano, "The Stationary
    Bootstrap", Journal of the American Statistical Association 89 (1994).

    Returns:
        Shape ``(replicates, periods)``; times returns of shape ``(periods, trials)`` it gives the samples' means.
    """
    begins = rng.random((replicates, periods)) < 1.0 / mean_block
    begins[:, 0] = True
    starts = rng.integers(0, periods, size=(replicates, periods))
    time = np.arange(periods)
    began = np.maximum.accumulate(np.where(begins, time, 0), axis=1)
    taken = (np.take_along_axis(starts, began, axis=1) + time - began) % periods
    taken += np.arange(replicates)[:, None] * periods
    counts = np.bincount(taken.ravel(), minlength=replicates * periods).reshape(replicates, periods)
    weights: Floats = counts / periods
    return weights


def reality_check(
    excess: npt.ArrayLike, rng: np.random.Generator, *, replicates: int = 2_000, mean_block: float | None = None
) -> RealityCheck:
    """White, "A Reality Check for Data Snooping", Econometrica 68 (2000).

    Args:
        excess: performance above the benchmark per period, shape ``(periods, trials)``; returns, if that is cash.
        rng: seeded.
        replicates: bootstrap samples.
        mean_block: periods a block has on average; by default the cube root of the number of periods.

    Raises:
        ContractError: no such matrix, fewer than 2 periods, a block below 1.
    """
    matrix, block = _checked(excess, mean_block, replicates)
    periods, mean = len(matrix), matrix.mean(axis=0)
    statistic = sqrt(periods) * float(mean.max())
    reached = 0
    for weights in _samples(matrix, rng, replicates, block):
        reached += int((sqrt(periods) * (weights @ matrix - mean).max(axis=1) >= statistic).sum())
    return RealityCheck(statistic, _share(reached, replicates), int(mean.argmax()), replicates, block)


def spa_test(
    excess: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    replicates: int = 2_000,
    mean_block: float | None = None,
    restudentise: bool = False,
) -> SuperiorAbility:
    """Hansen, "A Test for Superior Predictive Ability", Journal of Business and Economic Statistics 23 (2005).

    Studentised, and not blunted by hopeless trials as the reality check is. Arguments and errors are the same; trials
    that equal the benchmark do not count.

    Hansen estimates the errors of the means once. Of many trials over few periods, the best is then one whose error
    came out too small, and worthless trials pass: of 1,000 over 33 periods, three times in four at a level of 5 %.

    Args:
        restudentise: divide each sample by its own deviation instead, as Romano and Wolf, "Stepwise Multiple Testing
            as Formalized Data Snooping", Econometrica 73 (2005); the level then holds for few periods too.
    """
    matrix, block = _checked(excess, mean_block, replicates)
    periods = len(matrix)
    counted = matrix.std(axis=0) > _NOISE * np.abs(matrix).max(axis=0)
    if periods < 3 or not counted.any():
        return SuperiorAbility(0.0, 1.0, 1.0, 1.0, 0, replicates, block)
    columns = np.flatnonzero(counted)
    matrix = matrix[:, counted]
    mean = matrix.mean(axis=0)
    spread = _SampleErrors(matrix - mean) if restudentise else None
    variance = matrix.var(axis=0, ddof=1) if restudentise else _long_run_variance(matrix, block)
    error = np.sqrt(variance / periods)
    threshold = -error * sqrt(2.0 * max(log(log(periods)), 0.0))
    centres = (np.maximum(mean, 0.0), np.where(mean >= threshold, mean, 0.0), mean)
    scores = mean / error
    statistic = max(float(scores.max()), 0.0)
    reached = np.zeros(len(centres), dtype=np.int64)
    for weights in _samples(matrix, rng, replicates, block):
        sample = weights @ matrix
        errors = error if spread is None else spread.of(weights)
        for kind, centre in enumerate(centres):
            best = np.maximum(((sample - centre) / errors).max(axis=1), 0.0)
            reached[kind] += int((best >= statistic).sum())
    lower, consistent, upper = (_share(int(count), replicates) for count in reached)
    return SuperiorAbility(statistic, consistent, lower, upper, int(columns[scores.argmax()]), replicates, block)


class _SampleErrors:
    """Standard errors of the means of bootstrap samples, out of each sample's own deviation."""

    def __init__(self, centred: Floats) -> None:
        self._centred = centred
        self._squares = np.square(centred)
        self._floor = _NOISE * self._squares.mean(axis=0)

    def of(self, weights: Floats) -> Floats:
        """Shape ``(replicates, trials)``."""
        variance = weights @ self._squares - np.square(weights @ self._centred)
        errors: Floats = np.sqrt(np.maximum(variance, self._floor) / (len(self._centred) - 1))
        return errors


def _checked(excess: npt.ArrayLike, mean_block: float | None, replicates: int) -> tuple[Floats, float]:
    matrix = np.asarray(excess, dtype=np.float64)
    if matrix.ndim != 2 or len(matrix) < 2 or not matrix.shape[1] or not np.isfinite(matrix).all():
        raise ContractError(f"excess: expected finite numbers of shape (periods, trials), got shape {matrix.shape}")
    block = float(round(len(matrix) ** (1 / 3))) if mean_block is None else mean_block
    if block < 1 or replicates < 1:
        raise ContractError(f"expected a mean_block and replicates of at least 1, got {block} and {replicates}")
    return matrix, block


def _share(reached: int, replicates: int) -> float:
    """The sample itself counts as one of those that reach it, so that no p-value is 0."""
    return (reached + 1.0) / (replicates + 1.0)


def _samples(matrix: Floats, rng: np.random.Generator, replicates: int, block: float) -> Iterator[Floats]:
    """Weights of the samples, shape ``(some replicates, periods)``; so many that their means are bounded in memory."""
    rows = max(_ROOM // max(matrix.shape), 1)
    for first in range(0, replicates, rows):
        yield bootstrap_weights(rng, len(matrix), min(rows, replicates - first), block)


def _long_run_variance(matrix: Floats, block: float) -> Floats:
    """Of ``sqrt(T)`` times each mean, as the stationary bootstrap has it; shape ``(trials,)``.

    ``γ₀ + 2·Σ κ(i)·γᵢ`` with ``κ(i) = (T - i)/T·(1 - q)^i + i/T·(1 - q)^(T - i)`` and ``q = 1 / block``: Hansen
    (2005).
    """
    periods, trials = matrix.shape
    lags = np.arange(1, periods)
    q = 1.0 / block
    kernel = (periods - lags) / periods * (1.0 - q) ** lags + lags / periods * (1.0 - q) ** (periods - lags)
    weights = np.concatenate([[1.0], 2.0 * kernel])
    size = 1 << (2 * periods - 1).bit_length()
    variance = np.empty(trials)
    columns = max(_ROOM // size, 1)
    for first in range(0, trials, columns):
        part = matrix[:, first : first + columns]
        spectrum = np.fft.rfft(part - part.mean(axis=0), n=size, axis=0)
        covariance = np.fft.irfft(np.abs(spectrum) ** 2, n=size, axis=0)[:periods] / periods
        variance[first : first + columns] = weights @ covariance
    floor = _NOISE * matrix.var(axis=0)
    bounded: Floats = np.maximum(variance, floor)
    return bounded
