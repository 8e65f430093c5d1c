"""The fill model of bars: what the backtester's venue does when all it knows of the market is open, high, low, close.

A bar says nothing of volume at a price, so what fills, fills in full. Two timings, the specification's and the honest
one; see ``backtest.contracts.FillTiming``.
"""

from __future__ import annotations

from typing import ClassVar, Final

from core.contracts import Liquidity
from core.costs import BarRange, Slippage
from execution.fill_models import Match, Print, Queues, WorkingOrder, crosses_bar

_UNKNOWN: Final = BarRange(0, 0, 0)


class BarFills:
    """Fills one symbol's orders from bars.

    Market orders fill when they are placed, at the price of that moment moved by the slippage, as taker: under
    ``bar_close`` that is the close of the bar, with ``at_open`` the open of the next. One that was placed while no bar
    closed fills at the next close.

    Limit orders fill at their limit, from the first later bar that reaches it (its low for a buy, its high for a sell).
    ``bar_close``: also one that the price satisfies when it is placed, which pays the taker's rate then. ``at_open``:
    one that the open satisfies takes the open, which is the better price, as taker; all others are makers.
    """

    name: ClassVar[str] = "bar_fills"

    def __init__(self, slippage: Slippage, *, at_open: bool) -> None:
        self.closed = _UNKNOWN  # the latest bar that is known in full
        self._slippage = slippage
        self._at_open = at_open

    def on_placed(self, order: WorkingOrder, last_ticks: int | None) -> Match | None:
        """See the class."""
        if last_ticks is None:
            return None
        if order.limit_ticks is None:
            price = self._slippage.moved(last_ticks, order.side, order.remaining, self.closed)
            return Match(order, order.remaining, price, "taker")
        if order.crossed_by(last_ticks):
            if self._at_open:
                return Match(order, order.remaining, last_ticks, "taker")
            order.aggressive = True
        return None

    def on_trade(self, queues: Queues, trade: Print) -> list[Match]:
        """Nothing: trades have models of their own."""
        return []

    def on_bar(self, queues: Queues, bar: BarRange) -> list[Match]:
        """See the class."""
        matches = []
        for order in (*queues["buy"], *queues["sell"]):
            if order.limit_ticks is None:
                price = self._slippage.moved(bar.close, order.side, order.remaining, bar)
                matches.append(Match(order, order.remaining, price, "taker"))
            elif crosses_bar(order, bar):
                liquidity: Liquidity = "taker" if order.aggressive else "maker"
                matches.append(Match(order, order.remaining, order.limit_ticks, liquidity))
        return matches
