"""The trendline break as a kernel: the signals of ``samples.trendline_break``, at compiled speed."""

from __future__ import annotations

from math import nan
from typing import Annotated, Any

import msgspec

from strategies.indicators.kernel import regression, regression_size
from strategies.indicators.tolerance import ROUNDING
from strategies.kernel_cache import Floats, kernel_function
from strategies.kernels.strategy import KernelBar, KernelParams, KernelStrategy


class TrendlineBreakParams(KernelParams, frozen=True, kw_only=True):
    """``lookback_periods`` closes make the line; ``breakout_threshold`` is a fraction of it (0.02 is 2 %)."""

    lookback_periods: Annotated[int, msgspec.Meta(ge=2)] = 20
    breakout_threshold: Annotated[float, msgspec.Meta(gt=0)] = 0.02


@kernel_function
def step(state: Floats, bar: KernelBar, params: Floats) -> float:
    """1 above the corridor around the line through the closes before, -1 below it, no opinion within."""
    line, exists = state[0], state[1] != 0.0
    ahead, _ = regression(state, 2, bar.close, int(params[0]))
    if ahead == ahead:
        state[0], state[1] = ahead, 1.0
    if not exists:
        return nan
    corridor = params[1] * line
    if bar.close > (line + corridor) * (1.0 + ROUNDING):
        return 1.0
    return -1.0 if bar.close < (line - corridor) * (1.0 - ROUNDING) else nan


class TrendlineBreakKernel(KernelStrategy):
    """Least squares line through the last N closes, carried on to now. Acts when the close leaves the corridor."""

    strategy_id = "trendline_break_kernel_v1"
    step = staticmethod(step)
    Params = TrendlineBreakParams

    @classmethod
    def state_size(cls, params: Any) -> int:
        """The line ahead, whether there is one, its window."""
        return 2 + regression_size(params.lookback_periods)

    @classmethod
    def warm_up(cls, params: Any) -> int:
        """A full window, and the bar after it."""
        return int(params.lookback_periods) + 1
