"""The strategy of the benchmarks: trades ask for orders, which say by their meta which trade it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from core.contracts import OrderIntent, TradeEvent
from strategies.base import StrategyBase


class EveryTrade(StrategyBase):
    """Buys and sells in turn, so that the position stays where it is."""

    strategy_id = "bench_every_trade"
    every: ClassVar[int] = 1

    def on_event(self, event: Any) -> Iterable[OrderIntent]:
        """One market order at every so manieth trade."""
        if not isinstance(event, TradeEvent) or int(event.trade_id) % self.every:
            return ()
        side = "buy" if int(event.trade_id) // self.every % 2 else "sell"
        meta = {"trade": event.trade_id}
        return (OrderIntent(self.strategy_id, event.symbol, side, "market", 0.001, meta=meta),)  # type: ignore[arg-type]


class EveryFourthTrade(EveryTrade):
    """The same at every fourth trade: a market that is busier than we are."""

    strategy_id = "bench_every_fourth_trade"
    every = 4
