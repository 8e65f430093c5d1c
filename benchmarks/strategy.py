"""The strategy of the chain benchmark: every trade asks for an order, which says by its meta which trade it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.contracts import OrderIntent, TradeEvent
from strategies.base import StrategyBase


class EveryTrade(StrategyBase):
    """Buys and sells in turn, so that the position stays where it is."""

    strategy_id = "bench_every_trade"

    def on_event(self, event: Any) -> Iterable[OrderIntent]:
        """One market order a trade."""
        if not isinstance(event, TradeEvent):
            return ()
        side = "buy" if int(event.trade_id) % 2 else "sell"
        meta = {"trade": event.trade_id}
        return (OrderIntent(self.strategy_id, event.symbol, side, "market", 0.001, meta=meta),)  # type: ignore[arg-type]
