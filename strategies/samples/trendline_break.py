"""Trendline break: buy above the extrapolated regression line by a threshold, sell below it by the same."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from statistics import linear_regression
from typing import Annotated, Any, Literal

import msgspec

from core.contracts import Contract, OrderCancel, OrderIntent
from strategies.base import StrategyBase
from strategies.context import StrategyContext
from strategies.entries import params_of
from strategies.indicators.tolerance import ROUNDING
from strategies.sampling import PriceSampler
from strategies.target_orders import TargetOrders, TargetParams

Signal = Literal[1, 0, -1]


class TrendlineBreakParams(TargetParams, frozen=True, kw_only=True):
    """``lookback_periods`` prices make the line; ``breakout_threshold`` is a fraction of it (0.02 is 2 %)."""

    lookback_periods: Annotated[int, msgspec.Meta(ge=2)] = 20
    breakout_threshold: Annotated[float, msgspec.Meta(gt=0)] = 0.02


class TrendlineBreak(StrategyBase):
    """Least squares line through the last N prices, carried on to now. Acts when the price leaves the corridor."""

    strategy_id = "trendline_break_v1"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._params = params_of(context, TrendlineBreakParams)
        self._sampler = PriceSampler(self._params.period_s)
        self._orders = TargetOrders(context, self._params)
        self._windows = {symbol: self._window() for symbol in context.symbols}
        self._signals: dict[str, Signal] = {}

    def on_event(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        """At most one order under way per symbol, sent when its price newly breaks out of its corridor."""
        return [*self._orders.settle(event), *self._follow(event)]

    def _follow(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        price = self._sampler.price(event)
        if price is None:
            return []
        symbol: str = getattr(event, "symbol", "")
        signal = self._signal(self._windows[symbol], price)
        self._windows[symbol].append(price)
        previous = self._signals.get(symbol, 0)
        self._signals[symbol] = signal
        if signal in (0, previous):
            return []
        return self._orders.aim(event, symbol, signal, price)

    def state(self) -> dict[str, Any]:
        """Windows, signals and aims."""
        windows = {symbol: list(window) for symbol, window in self._windows.items()}
        return {"windows": windows, "signals": dict(self._signals), "orders": self._orders.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Carry on with the prices seen so far, as many as the lookback takes."""
        for symbol, prices in state["windows"].items():
            if symbol in self._windows:
                self._windows[symbol] = self._window(prices)
        self._signals = dict(state["signals"])
        self._orders.load_state(state["orders"])

    def _window(self, prices: Iterable[float] = ()) -> deque[float]:
        return deque(prices, maxlen=self._params.lookback_periods)

    def _signal(self, window: deque[float], price: float) -> Signal:
        count = len(window)
        if count < self._params.lookback_periods:
            return 0
        slope, intercept = linear_regression(range(count), window)
        line = intercept + slope * count
        corridor = self._params.breakout_threshold * line
        if price > (line + corridor) * (1.0 + ROUNDING):
            return 1
        return -1 if price < (line - corridor) * (1.0 - ROUNDING) else 0
