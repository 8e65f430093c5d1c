"""Crossing moving averages: long while the fast one is above the slow one, else short, or flat without shorts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import fsum
from typing import Annotated, Any, Final, Literal

import msgspec

from core.contracts import Contract, OHLCVBar, OrderCancel, OrderIntent, TradeEvent
from core.errors import ConfigError
from strategies.base import StrategyBase
from strategies.context import StrategyContext
from strategies.entries import params_of
from strategies.indicators.tolerance import ROUNDING
from strategies.sampling import PriceSampler, one_timeframe
from strategies.target_orders import TargetOrders, TargetParams

Period = Annotated[int, msgspec.Meta(ge=1)]
SUM_ANEW: Final = 4096  # prices after which the running sums are taken anew, so that no rounding adds up
_ROUGH: Final = 1e-9  # of the largest sum: more than 4,096 additions can round, closer averages are summed exactly
_NOTHING: Final = ()


class SmaCrossParams(TargetParams, frozen=True, kw_only=True):
    """``fast`` and ``slow`` count prices."""

    fast: Period = 10
    slow: Period = 50


class _Averages:
    """The prices of one symbol and both running sums.

    ``side`` is 1 where the fast average last lay above the slow one, -1 below it, 0 before either was known. Sums that
    are further apart than ``bound``, while no price reached ``ceiling``, are on that side however they were rounded.
    """

    __slots__ = ("bound", "ceiling", "fast_sum", "prices", "side", "slow_sum", "until_anew")

    def __init__(self) -> None:
        self.prices: deque[float] = deque()
        self.fast_sum = self.slow_sum = self.bound = self.ceiling = 0.0
        self.until_anew = SUM_ANEW
        self.side: Literal[1, 0, -1] = 0


class SmaCross(StrategyBase):
    """Two simple moving averages by running sums. Acts when the fast one comes to the other side of the slow one.

    Which side it is on when both first exist is only taken note of, and equal averages change nothing: a cross takes
    two sides. Averages that are close are summed exactly and compared with the tolerance of the kernel.
    """

    strategy_id = "sma_cross_v1"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        params = params_of(context, SmaCrossParams)
        if params.fast >= params.slow:
            raise ConfigError(
                f"strategy {context.strategy_id!r}: params.fast: expected less than slow, {params.slow}, "
                f"got {params.fast}"
            )
        self._fast, self._slow, self._ratio = params.fast, params.slow, params.fast / params.slow
        self._sampler = PriceSampler(params.period_s)
        self._timeframe = ""
        self._orders = TargetOrders(context, params)
        self._averages = {symbol: _Averages() for symbol in context.symbols}

    def on_event(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        """At most one order under way per symbol, sent when the averages have crossed."""
        if type(event) is OHLCVBar:
            if event.timeframe != self._timeframe:
                self._timeframe = one_timeframe(self._timeframe, event)
            price = event.close
            symbol = event.symbol
        elif isinstance(event, TradeEvent):
            sampled = self._sampler.price(event)
            if sampled is None:
                return _NOTHING
            price, symbol = sampled, event.symbol
        else:
            return self._orders.settle(event)  # market data settles nothing, so bars need not come by here
        averages = self._averages[symbol]
        prices = averages.prices
        if len(prices) < self._slow:
            prices.append(price)
            if len(prices) < self._slow:
                return _NOTHING
        else:
            averages.fast_sum += price - prices[-self._fast]
            averages.slow_sum += price - prices.popleft()
            prices.append(price)
            averages.until_anew -= 1
            apart = (averages.fast_sum - averages.slow_sum * self._ratio) * averages.side
            if apart > averages.bound and price < averages.ceiling and averages.until_anew:
                return _NOTHING
        side = self._side(averages)
        if side == averages.side:
            return _NOTHING
        previous, averages.side = averages.side, side
        return self._orders.aim(event, symbol, side, price) if previous else _NOTHING

    def state(self) -> dict[str, Any]:
        """Prices, sides and aims."""
        windows = {symbol: (list(averages.prices), averages.side) for symbol, averages in self._averages.items()}
        return {"windows": windows, "orders": self._orders.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Carry on with the prices of before, as many as the slow average takes."""
        self._orders.load_state(state["orders"])
        for symbol, (prices, side) in state["windows"].items():
            averages = self._averages.get(symbol)
            if averages is not None:
                averages.prices.extend(prices[-self._slow :])
                averages.side = side
                self._sum_anew(averages)

    def _side(self, averages: _Averages) -> Literal[1, 0, -1]:
        """On which side the fast average is by exact sums; the side it was on when they are equal."""
        self._sum_anew(averages)
        fast, slow = averages.fast_sum / self._fast, averages.slow_sum / self._slow
        if fast > slow * (1.0 + ROUNDING):
            return 1
        return -1 if fast < slow * (1.0 - ROUNDING) else averages.side

    def _sum_anew(self, averages: _Averages) -> None:
        prices = list(averages.prices)
        averages.slow_sum = fsum(prices)
        averages.fast_sum = fsum(prices[-self._fast :])
        averages.ceiling = 2.0 * max(prices, default=0.0)
        averages.bound = _ROUGH * averages.ceiling * self._fast
        averages.until_anew = SUM_ANEW
