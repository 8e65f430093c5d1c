"""Indicators that take one price at a time and answer None until they have seen enough.

Each is the textbook formula, named in its docstring, seeded the way TA-Lib seeds it.
"""

from __future__ import annotations

from collections import deque
from math import fsum, sqrt
from typing import NamedTuple


def _need(name: str, value: int, least: int) -> int:
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")
    return value


class Ema:
    """Exponential moving average with weight 2 / (period + 1), starting from the mean of the first ``period``."""

    def __init__(self, period: int) -> None:
        self._period = _need("period", period, 1)
        self._weight = 2.0 / (period + 1)
        self._seed: list[float] = []
        self._value: float | None = None

    def update(self, price: float) -> float | None:
        """The average including this price."""
        if self._value is None:
            self._seed.append(price)
            if len(self._seed) == self._period:
                self._value = fsum(self._seed) / self._period
                self._seed = []
        else:
            self._value += self._weight * (price - self._value)
        return self._value


class Tema:
    """Triple exponential moving average, 3 EMA - 3 EMA(EMA) + EMA(EMA(EMA)).

    P. Mulloy, "Smoothing Data with Faster Moving Averages", Stocks & Commodities 12:1 (1994). Answers from
    the ``3 * period - 2``-th price on.
    """

    def __init__(self, period: int) -> None:
        self._once, self._twice, self._thrice = Ema(period), Ema(period), Ema(period)

    def update(self, price: float) -> float | None:
        """The average including this price."""
        once = self._once.update(price)
        twice = None if once is None else self._twice.update(once)
        thrice = None if twice is None else self._thrice.update(twice)
        if once is None or twice is None or thrice is None:
            return None
        return 3.0 * once - 3.0 * twice + thrice


class Rsi:
    """Relative strength index, 0 to 100: 100 * gain / (gain + loss), both smoothed by 1 / period.

    J. W. Wilder, "New Concepts in Technical Trading Systems" (1978). The first averages are the means of the
    first ``period`` changes. A market that did not move at all counts as 50.
    """

    def __init__(self, period: int) -> None:
        self._period = _need("period", period, 1)
        self._last: float | None = None
        self._changes = 0
        self._gain = 0.0
        self._loss = 0.0

    def update(self, price: float) -> float | None:
        """The index including this price."""
        last, self._last = self._last, price
        if last is None:
            return None
        gain, loss = max(price - last, 0.0), max(last - price, 0.0)
        if self._changes < self._period:
            self._changes += 1
            self._gain += gain / self._period
            self._loss += loss / self._period
            if self._changes < self._period:
                return None
        else:
            self._gain += (gain - self._gain) / self._period
            self._loss += (loss - self._loss) / self._period
        total = self._gain + self._loss
        return 100.0 * self._gain / total if total > 0.0 else 50.0


class Bands(NamedTuple):
    """Bollinger's bands in the unit of the prices."""

    lower: float
    middle: float
    upper: float


class Bollinger:
    """Mean of the last ``period`` prices, plus and minus ``width`` population standard deviations.

    J. Bollinger, "Bollinger on Bollinger Bands" (2001). Summed anew over the window for every price, as distances
    from this one: running sums of squares lose digits at large prices, and a market that stands still has no spread.
    """

    def __init__(self, period: int, width: float) -> None:
        self._window: deque[float] = deque(maxlen=_need("period", period, 1))
        self._width = width

    def update(self, price: float) -> Bands | None:
        """The bands including this price."""
        window = self._window
        window.append(price)
        if len(window) < (window.maxlen or 0):
            return None
        distances = [earlier - price for earlier in window]
        mean = fsum(distances) / len(window)
        spread = self._width * sqrt(fsum((distance - mean) ** 2 for distance in distances) / len(window))
        middle = price + mean
        return Bands(middle - spread, middle, middle + spread)
