"""RSI, TEMA and Bollinger bands as a kernel: the signals of ``samples.rsi_tema_bb``, at compiled speed."""

from __future__ import annotations

from math import nan
from typing import Annotated, Any

import msgspec

from strategies.indicators.kernel import mean_and_spread, rsi, rsi_size, spread_size, tema, tema_size
from strategies.indicators.tolerance import ROUNDING
from strategies.kernel_cache import Floats, kernel_function
from strategies.kernels.strategy import KernelBar, KernelParams, KernelStrategy

Period = Annotated[int, msgspec.Meta(ge=2)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


class RsiTemaBbParams(KernelParams, frozen=True, kw_only=True):
    """Periods count bars; ``bb_std`` is in standard deviations, the RSI thresholds in its 0 to 100.

    ``confirm_periods`` is for how many bars after an extreme the turn still counts, 0 for the same bar only.
    """

    rsi_period: Period = 14
    tema_period: Period = 9
    bb_period: Period = 20
    bb_std: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    rsi_oversold: Percent = 30.0
    rsi_overbought: Percent = 70.0
    confirm_periods: Annotated[int, msgspec.Meta(ge=0)] = 5


_TREND, _STARTED, _EXTREME, _WAITED, _INDICATORS = range(5)


@kernel_function
def step(state: Floats, bar: KernelBar, params: Floats) -> float:
    """1 when the market has turned up from an extreme low, -1 when down from an extreme high, else no opinion."""
    price = bar.close
    strength = rsi(state, _INDICATORS, price, int(params[0]))
    trend = tema(state, _INDICATORS + rsi_size(), price, int(params[1]))
    middle, deviation = mean_and_spread(state, _INDICATORS + rsi_size() + tema_size(), price, int(params[2]))
    previous, started = state[_TREND], state[_STARTED] != 0.0
    if trend == trend:
        state[_TREND], state[_STARTED] = trend, 1.0
    if strength != strength or middle != middle or trend != trend or not started:
        return nan
    state[_WAITED] += 1.0
    if strength < params[4] and price < (middle - params[3] * deviation) * (1.0 - ROUNDING):
        state[_EXTREME], state[_WAITED] = 1.0, 0.0
    elif strength > params[5] and price > (middle + params[3] * deviation) * (1.0 + ROUNDING):
        state[_EXTREME], state[_WAITED] = -1.0, 0.0
    side: float = state[_EXTREME]
    if (trend - previous) * side > ROUNDING * abs(previous) and state[_WAITED] <= params[6]:
        state[_EXTREME] = 0.0
        return side
    return nan


class RsiTemaBbKernel(KernelStrategy):
    """Momentum says extreme, volatility says far out, trend says it has turned: only then it acts."""

    strategy_id = "rsi_tema_bb_kernel_v1"
    step = staticmethod(step)
    Params = RsiTemaBbParams

    @classmethod
    def state_size(cls, params: Any) -> int:
        """Trend, extreme and how long ago, and the three indicators."""
        return _INDICATORS + rsi_size() + tema_size() + spread_size(params.bb_period)

    @classmethod
    def warm_up(cls, params: Any) -> int:
        """Until all three are there, the trend for the second time."""
        return int(max(params.rsi_period + 1, params.bb_period, 3 * params.tema_period - 1))
