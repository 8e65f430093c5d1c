"""Indicators for kernels: each keeps its memory in a slice of the kernel's state and takes one price per call.

``x(state, at, price, period)`` reads and writes ``state[at : at + x_size(period)]``, which starts as zeros, and gives
NaN until it has seen enough. Formulas and seeds are those of ``strategies.indicators.incremental``, and of TA-Lib
where it has them.

Sums over a window are running ones. Each is replaced, whenever its ring of prices begins anew, by one begun a period
ago: its error never outgrows that of adding up two periods, however many bars have passed. Sums of squares and of
weighted prices are also taken anew when a price leaves that outweighs those that stay: the digits that it cost go with
it. Compare what comes out with the tolerance of ``strategies.indicators.tolerance``.
"""

from __future__ import annotations

from math import nan, sqrt

import numpy as np

from strategies.kernel_cache import Floats, kernel_function, kernel_size, rare_function

_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@kernel_size
def sma_size(period: int) -> int:
    """Numbers of state that ``sma`` takes."""
    return 4 + period


@kernel_function
def sma(state: Floats, at: int, price: float, period: float) -> float:
    """Mean of the last ``period`` prices. TA-Lib: SMA."""
    head = np.uint64(at)
    place = state[head]
    slot = np.uint64(at + 4 + int(place))
    total = state[head + _1] + (price - state[slot])
    fresh = state[head + _2] + price
    state[slot] = price
    place += 1.0
    if place == period:
        place = 0.0
        total = fresh
        fresh = 0.0
        state[head + _3] = 1.0
    state[head] = place
    state[head + _1] = total
    state[head + _2] = fresh
    mean: float = total / period
    return nan if state[head + _3] == 0.0 else mean


@rare_function
def sma_anew(state: Floats, at: int, period: int) -> float:
    """The mean that ``sma`` gave last, added up anew: without what earlier, larger prices cost the running sum.

    Call it where two averages are close, before an order depends on which one is larger; see ``kernels.sma_cross``.
    """
    total = 0.0
    for slot in range(at + 4, at + 4 + period):
        total += state[slot]
    return total / period


@kernel_size
def ema_size() -> int:
    """Numbers of state that ``ema`` takes."""
    return 3


@kernel_function
def ema(state: Floats, at: int, price: float, period: int) -> float:
    """Exponential average, weight 2 / (period + 1), from the mean of the first ``period`` prices on. TA-Lib: EMA."""
    total: float = state[at + 1]
    if state[at] == period:
        total += 2.0 / (period + 1.0) * (price - total)
        state[at + 1] = total
        return total
    state[at] += 1.0
    moved = total + price
    # What the addition rounded away (Neumaier), as the mean that seeds the average is to be exact.
    state[at + 2] += (total - moved) + price if abs(total) >= abs(price) else (price - moved) + total
    state[at + 1] = moved
    if state[at] < period:
        return nan
    mean: float = (moved + state[at + 2]) / period
    state[at + 1] = mean
    return mean


@kernel_size
def tema_size() -> int:
    """Numbers of state that ``tema`` takes."""
    return 3 * ema_size()


@kernel_function
def tema(state: Floats, at: int, price: float, period: int) -> float:
    """Triple exponential average, 3 EMA - 3 EMA(EMA) + EMA(EMA(EMA)); see ``indicators.Tema``. TA-Lib: TEMA."""
    once = ema(state, at, price, period)
    if once != once:
        return nan
    twice = ema(state, at + 3, once, period)
    if twice != twice:
        return nan
    thrice = ema(state, at + 6, twice, period)
    return 3.0 * once - 3.0 * twice + thrice


@kernel_size
def rsi_size() -> int:
    """Numbers of state that ``rsi`` takes."""
    return 4


@kernel_function
def rsi(state: Floats, at: int, price: float, period: int) -> float:
    """Wilder's relative strength index, 0 to 100; see ``indicators.Rsi``. TA-Lib: RSI.

    Where nothing moved at all this gives 50, TA-Lib 0.
    """
    seen, change = state[at], price - state[at + 1]
    state[at + 1] = price
    if seen <= period:
        state[at] = seen + 1.0
    if seen == 0.0:
        return nan
    gain, loss = max(change, 0.0), max(-change, 0.0)
    if seen <= period:
        state[at + 2] += gain / period
        state[at + 3] += loss / period
        if seen < period:
            return nan
    else:
        state[at + 2] += (gain - state[at + 2]) / period
        state[at + 3] += (loss - state[at + 3]) / period
    total = state[at + 2] + state[at + 3]
    index: float = 100.0 * state[at + 2] / total if total > 0.0 else 50.0
    return index


@kernel_size
def atr_size() -> int:
    """Numbers of state that ``atr`` takes."""
    return 3


@kernel_function
def atr(state: Floats, at: int, high: float, low: float, close: float, period: int) -> float:
    """Average true range, smoothed by 1 / period from the mean of the first ``period`` ranges on. TA-Lib: ATR.

    J. W. Wilder, "New Concepts in Technical Trading Systems" (1978). The first bar has no close before it: no range.
    """
    seen, last_close = state[at], state[at + 1]
    state[at + 1] = close
    if seen <= period:
        state[at] = seen + 1.0
    if seen == 0.0:
        return nan
    span = max(high, last_close) - min(low, last_close)
    smooth: float = state[at + 2]
    smooth += (span - smooth) / period if seen > period else span / period
    state[at + 2] = smooth
    return smooth if seen >= period else nan


@rare_function
def _ring_moments(state: Floats, at: int, period: int, base: float) -> tuple[float, float]:
    """Sum and sum of squares of the ring's distances from ``base``."""
    total = squares = 0.0
    for slot in range(at, at + period):
        distance = state[slot] - base
        total += distance
        squares += distance * distance
    return total, squares


@kernel_size
def spread_size(period: int) -> int:
    """Numbers of state that ``mean_and_spread`` takes."""
    return 8 + period


@kernel_function
def mean_and_spread(state: Floats, at: int, price: float, period: int) -> tuple[float, float]:
    """Mean and population standard deviation of the last ``period`` prices: Bollinger's. TA-Lib: BBANDS, STDDEV.

    Squares are of distances from a price at most two periods old, or they would drown in the level of the price.
    """
    place, base, next_base = state[at], state[at + 1], state[at + 2]
    if place == 0.0:
        next_base = price
        state[at + 2] = price
    slot = at + 8 + int(place)
    full = state[at + 7]
    now, gone = price - base, (state[slot] - base) * full
    total = state[at + 3] + (now - gone)
    squares = state[at + 4] + (now * now - gone * gone)
    now = price - next_base
    fresh = state[at + 5] + now
    fresh_squares = state[at + 6] + now * now
    state[slot] = price
    if gone * gone > squares:
        base = price
        total, squares = _ring_moments(state, at + 8, period, base)
        state[at + 1] = base
    place += 1.0
    if place == period:
        place = 0.0
        base, total, squares = next_base, fresh, fresh_squares
        fresh = fresh_squares = 0.0
        full = 1.0
        state[at + 1], state[at + 7] = base, full
    state[at] = place
    state[at + 3], state[at + 4], state[at + 5], state[at + 6] = total, squares, fresh, fresh_squares
    if full == 0.0:
        return nan, nan
    mean = total / period
    return base + mean, sqrt(max(squares / period - mean * mean, 0.0))


@rare_function
def _ring_line(state: Floats, at: int, period: int, oldest: int, base: float) -> tuple[float, float]:
    """Sum of the ring's distances from ``base``, plain and weighted by age: 0 for the oldest."""
    total = weighted = 0.0
    for age in range(period):
        slot = oldest + age
        distance = state[at + (slot if slot < period else slot - period)] - base
        total += distance
        weighted += age * distance
    return total, weighted


@kernel_size
def regression_size(period: int) -> int:
    """Numbers of state that ``regression`` takes."""
    return 8 + period


@kernel_function
def regression(state: Floats, at: int, price: float, period: int) -> tuple[float, float]:
    """Least squares line through the last ``period`` prices: its value one step ahead, and its slope per step.

    TA-Lib: TSF, LINEARREG_SLOPE.
    """
    place, base, next_base = state[at], state[at + 1], state[at + 2]
    if place == 0.0:
        next_base = price
        state[at + 2] = price
    slot = at + 8 + int(place)
    full = state[at + 7]
    now, gone = price - base, (state[slot] - base) * full
    # One step later everything that stays lies one place further left.
    weighted = state[at + 4] - (state[at + 3] - gone) + (period - 1.0) * now
    total = state[at + 3] + (now - gone)
    now = price - next_base
    fresh = state[at + 5] + now
    fresh_weighted = state[at + 6] + place * now
    state[slot] = price
    if abs(gone) > price:
        base = price
        total, weighted = _ring_line(state, at + 8, period, int(place) + 1, base)
        state[at + 1] = base
    place += 1.0
    if place == period:
        place = 0.0
        base, total, weighted = next_base, fresh, fresh_weighted
        fresh = fresh_weighted = 0.0
        full = 1.0
        state[at + 1], state[at + 7] = base, full
    state[at] = place
    state[at + 3], state[at + 4], state[at + 5], state[at + 6] = total, weighted, fresh, fresh_weighted
    if full == 0.0:
        return nan, nan
    middle = (period - 1.0) / 2.0
    slope = (weighted - middle * total) / (period * (period * period - 1.0) / 12.0)
    return base + total / period + slope * (period - middle), slope


@kernel_size
def extreme_size(period: int) -> int:
    """Numbers of state that ``highest`` and ``lowest`` take."""
    return 3 + 2 * period


@kernel_function
def highest(state: Floats, at: int, price: float, period: int) -> float:
    """Largest of the last ``period`` prices, exactly. TA-Lib: MAX.

    Keeps, oldest first, the prices that no later one has reached: each comes in once and goes out once.
    """
    seen, first, kept = state[at], int(state[at + 1]), int(state[at + 2])
    stamps = at + 3 + period
    if kept and state[stamps + first] <= seen - period:
        first = first + 1 if first + 1 < period else 0
        kept -= 1
    while kept:
        last = first + kept - 1
        if last >= period:
            last -= period
        if state[at + 3 + last] > price:
            break
        kept -= 1
    slot = first + kept
    if slot >= period:
        slot -= period
    state[at + 3 + slot], state[stamps + slot] = price, seen
    state[at], state[at + 1], state[at + 2] = seen + 1.0, float(first), kept + 1.0
    largest: float = state[at + 3 + first]
    return largest if seen + 1.0 >= period else nan


@kernel_function
def lowest(state: Floats, at: int, price: float, period: int) -> float:
    """Smallest of the last ``period`` prices, exactly. TA-Lib: MIN."""
    return -highest(state, at, -price, period)
