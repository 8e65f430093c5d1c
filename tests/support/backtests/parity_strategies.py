"""Strategies for the tests of parity that answer everything they hear of: whatever is told in another order shows."""

from __future__ import annotations

from collections.abc import Iterable

from core.contracts import (
    BookEvent,
    ClockTick,
    Contract,
    FillEvent,
    OHLCVBar,
    OrderCancel,
    OrderIntent,
    OrderUpdate,
    RiskDecision,
    Side,
    TradeEvent,
)
from strategies.base import StrategyBase
from strategies.context import StrategyContext


class Nervous(StrategyBase):
    """Orders on trades, bars, the clock and books, and on what becomes of its orders; takes some of them back."""

    strategy_id = "nervous"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self.symbol = context.symbols[0]
        self.every = int(context.config.get("every", 23))
        self.qty = float(context.config.get("qty", 0.01))
        self.heard = 0

    def on_event(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        """Every so many events of a kind, an answer that depends on position, open orders and the last price."""
        self.heard += 1
        instrument = self.context.instruments[self.symbol]
        price = self.context.prices.get(self.symbol)
        position = self.context.positions[self.symbol].qty
        open_orders = tuple(self.context.orders.values())
        if price is None:
            return
        if isinstance(event, FillEvent | OrderUpdate | RiskDecision) and self.heard % 3 == 0 and open_orders:
            yield OrderCancel(open_orders[0].order_id, self.symbol, self.strategy_id, event.ts_ns)
        if isinstance(event, FillEvent) and self.heard % 5 == 0:
            yield self._limit("sell" if position > 0 else "buy", instrument.round_price(price * 1.0001))
        due = isinstance(event, OHLCVBar) or (isinstance(event, ClockTick | BookEvent) and self.heard % self.every == 1)
        if due or (isinstance(event, TradeEvent) and self.heard % self.every == 0):
            side: Side = "sell" if position > 0 else "buy"
            limit = price * (1.00005 if side == "buy" else 0.99995)  # marketable, most of the time
            if self.heard % 2:
                yield self._limit(side, instrument.round_price(limit))
            else:
                yield OrderIntent(self.strategy_id, self.symbol, side, "market", self.qty)

    def _limit(self, side: Side, price: float) -> OrderIntent:
        return OrderIntent(self.strategy_id, self.symbol, side, "limit", self.qty, price)
