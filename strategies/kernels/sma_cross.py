"""Two simple averages: long from the bar where the fast one crosses the slow one upwards, short (or flat) downwards."""

from __future__ import annotations

from math import nan
from typing import Annotated, Any, Final

import msgspec

from strategies.indicators.kernel import sma, sma_anew, sma_size
from strategies.indicators.tolerance import ROUNDING
from strategies.kernel_cache import Floats, kernel_function
from strategies.kernels.strategy import KernelBar, KernelParams, KernelStrategy

CLOSE: Final = 1e-6  # relative: running sums may be wrong by so much after a price of a billion times the others
Period = Annotated[int, msgspec.Meta(ge=1)]


class SmaCrossParams(KernelParams, frozen=True, kw_only=True):
    """Periods in bars."""

    fast: Period = 10
    slow: Period = 50


@kernel_function
def step(state: Floats, bar: KernelBar, params: Floats) -> float:
    """1 from a cross upwards on, -1 from a cross downwards on, no opinion before the first.

    On which side the fast average is when both are first known is no cross, and neither is it one to touch.
    """
    quick = sma(state, 2, bar.close, params[0])
    calm = sma(state, 2 + sma_size(int(params[0])), bar.close, params[1])
    if abs(quick - calm) <= calm * CLOSE:
        quick = sma_anew(state, 2, int(params[0]))
        calm = sma_anew(state, 2 + sma_size(int(params[0])), int(params[1]))
    if quick > calm * (1.0 + ROUNDING):
        side = 1.0
    elif quick < calm * (1.0 - ROUNDING):
        side = -1.0
    else:  # as good as equal, or not known yet
        side = state[0]
    if side * state[0] < 0.0:
        state[1] = side
    state[0] = side
    return state[1] if state[1] != 0.0 else nan


class SmaCross(KernelStrategy):
    """The classic cross of two simple moving averages."""

    strategy_id = "sma_cross_kernel_v1"
    step = staticmethod(step)
    Params = SmaCrossParams

    @classmethod
    def state_size(cls, params: Any) -> int:
        """Side, opinion, two averages."""
        return 2 + sma_size(params.fast) + sma_size(params.slow)

    @classmethod
    def warm_up(cls, params: Any) -> int:
        """Until both averages are there, and one bar to have crossed."""
        return int(max(params.fast, params.slow)) + 1
