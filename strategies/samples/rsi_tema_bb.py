"""RSI, TEMA and Bollinger bands: buy what is oversold below its band and turning up, sell the mirror image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from core.contracts import Contract, OrderCancel, OrderIntent
from strategies.base import StrategyBase
from strategies.context import StrategyContext
from strategies.entries import params_of
from strategies.indicators.incremental import Bollinger, Rsi, Tema
from strategies.indicators.tolerance import ROUNDING
from strategies.sampling import PriceSampler
from strategies.target_orders import TargetOrders, TargetParams

Period = Annotated[int, msgspec.Meta(ge=2)]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Signal = Literal[1, 0, -1]


class RsiTemaBbParams(TargetParams, frozen=True, kw_only=True):
    """Periods count samples; ``bb_std`` is in standard deviations, the RSI thresholds in its 0 to 100.

    The TEMA turns after the extreme, seldom within it: ``confirm_periods`` is for how many samples after an
    extreme the turn still counts, 0 for the same sample only.
    """

    rsi_period: Period = 14
    tema_period: Period = 9
    bb_period: Period = 20
    bb_std: Annotated[float, msgspec.Meta(gt=0)] = 2.0
    rsi_oversold: Percent = 30.0
    rsi_overbought: Percent = 70.0
    confirm_periods: Annotated[int, msgspec.Meta(ge=0)] = 5


class Readings:
    """The three indicators of one symbol and the signal they make together."""

    def __init__(self, params: RsiTemaBbParams) -> None:
        self._params = params
        self._rsi = Rsi(params.rsi_period)
        self._tema = Tema(params.tema_period)
        self._bollinger = Bollinger(params.bb_period, params.bb_std)
        self._trend: float | None = None
        self._extreme: Signal = 0  # which way the last extreme wants to be traded
        self._waited = 0  # samples since then
        self.signal: Signal = 0

    def update(self, price: float) -> Signal:
        """1 to buy, -1 to sell, 0 for neither, with this price taken in."""
        rsi, bands, tema = self._rsi.update(price), self._bollinger.update(price), self._tema.update(price)
        previous, self._trend = self._trend, tema
        self.signal = 0
        if rsi is None or bands is None or tema is None or previous is None:
            return 0
        self._waited += 1
        if rsi < self._params.rsi_oversold and price < bands.lower * (1.0 - ROUNDING):
            self._extreme, self._waited = 1, 0
        elif rsi > self._params.rsi_overbought and price > bands.upper * (1.0 + ROUNDING):
            self._extreme, self._waited = -1, 0
        turned = (tema - previous) * self._extreme > ROUNDING * abs(previous)
        if turned and self._waited <= self._params.confirm_periods:
            self.signal, self._extreme = self._extreme, 0
        return self.signal

    def memory(self) -> tuple[Any, ...]:
        """The state of the indicators, without the code that learnt it."""
        return self._rsi, self._tema, self._bollinger, self._trend, self._extreme, self._waited, self.signal

    def remember(self, memory: tuple[Any, ...]) -> None:
        """Take over the state of another with the same parameters."""
        self._rsi, self._tema, self._bollinger, self._trend, self._extreme, self._waited, self.signal = memory


class RsiTemaBb(StrategyBase):
    """Momentum says extreme, volatility says far out, trend says it has turned: only then it acts."""

    strategy_id = "rsi_tema_bb_v1"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._params = params_of(context, RsiTemaBbParams)
        self._sampler = PriceSampler(self._params.period_s)
        self._orders = TargetOrders(context, self._params)
        self._readings = {symbol: Readings(self._params) for symbol in context.symbols}

    def on_event(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        """At most one order under way per symbol, sent when its signal newly appears."""
        return [*self._orders.settle(event), *self._follow(event)]

    def _follow(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        price = self._sampler.price(event)
        if price is None:
            return []
        symbol: str = getattr(event, "symbol", "")
        readings = self._readings[symbol]
        previous = readings.signal
        signal = readings.update(price)
        if signal in (0, previous):
            return []
        return self._orders.aim(event, symbol, signal, price)

    def state(self) -> dict[str, Any]:
        """The aims, and the indicators for a successor with the same parameters."""
        memories = {symbol: readings.memory() for symbol, readings in self._readings.items()}
        return {"config": dict(self.context.config), "memories": memories, "orders": self._orders.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Carry on; with other parameters or symbols the indicators start cold."""
        self._orders.load_state(state["orders"])
        if state["config"] == dict(self.context.config) and state["memories"].keys() == self._readings.keys():
            for symbol, memory in state["memories"].items():
                self._readings[symbol].remember(memory)
