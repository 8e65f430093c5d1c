"""Last prices as strategies see them: the latest trade, or the close of a bar where nothing traded since."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core.contracts import Contract, OHLCVBar, TradeEvent


class LastPrices:
    """A cache, learnt again from the market after a restart."""

    def __init__(self) -> None:
        self._prices: dict[str, float] = {}
        self._ts_ns: dict[str, int] = {}
        self.view: Mapping[str, float] = MappingProxyType(self._prices)

    def learn(self, event: Contract) -> None:
        """Note the price of a trade or bar unless a later one is known: a bar closes after the next trade."""
        if isinstance(event, TradeEvent):
            price = event.price
        elif isinstance(event, OHLCVBar):
            price = event.close
        else:
            return
        if event.ts_ns >= self._ts_ns.get(event.symbol, 0):
            self._ts_ns[event.symbol] = event.ts_ns
            self._prices[event.symbol] = price
