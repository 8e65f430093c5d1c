"""Indicators for kernels: each keeps its memory in a slice of the kernel's state and takes one price per call.

``x(state, at, price, period)`` reads and writes ``state[at : at + x_size(period)]``, which starts as zeros, and gives
NaN until it has seen enough. Formulas and seeds are those of ``strategies.indicators``, and of TA-Lib where it has them.
"""

from __future__ import annotations

from math import nan

from strategies.kernel_cache import Floats, kernel_function, kernel_size


@kernel_size
def sma_size(period: int) -> int:
    """Numbers of state that ``sma`` takes."""
    return period + 4


@kernel_function
def sma(state: Floats, at: int, price: float, period: int) -> float:
    """Mean of the last ``period`` prices."""
    where = state[at]
    slot = at + 4 + int(where)
    oldest = state[slot]
    state[slot] = price
    where += 1.0
    if where == period:
        where = 0.0
        state[at + 3] = 1.0
    state[at] = where
    # Neumaier: what each addition rounds away is kept, so that the sum of a million prices is as good as that of ten.
    total = state[at + 1]
    change = price - oldest
    back = change - price
    lost = (price - (change - back)) - (oldest + back)
    moved = total + change
    back = moved - total
    lost += (total - (moved - back)) + (change - back)
    kept = state[at + 2] + lost
    state[at + 1] = moved
    state[at + 2] = kept
    if state[at + 3] == 0.0:
        return nan
    return (moved + kept) / period
