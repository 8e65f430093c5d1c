"""Buy and hold: the yardstick that every other strategy has to beat."""

from __future__ import annotations

from collections.abc import Iterable

from core.contracts import Contract, OrderCancel, OrderIntent
from strategies.base import StrategyBase
from strategies.context import StrategyContext
from strategies.entries import params_of
from strategies.sampling import PriceSampler
from strategies.target_orders import TargetOrders, TargetParams


class BuyHold(StrategyBase):
    """Buys ``qty`` of every symbol at its first price and never acts again."""

    strategy_id = "buy_hold_v1"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        params = params_of(context, TargetParams)
        self._sampler = PriceSampler(params.period_s)
        self._orders = TargetOrders(context, params)
        self._missing = set(context.symbols)

    def on_event(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        """One order for each symbol."""
        if not self._missing:
            return self._orders.settle(event)
        price = self._sampler.price(event)
        symbol: str = getattr(event, "symbol", "")
        if price is None or symbol not in self._missing:
            return self._orders.settle(event)
        self._missing.discard(symbol)
        return self._orders.aim(event, symbol, 1, price)

    def state(self) -> list[str]:
        """The symbols that are still to be bought."""
        return sorted(self._missing)

    def load_state(self, state: list[str]) -> None:
        """Carry on."""
        self._missing &= set(state)
