"""Working orders: what was allowed and may still fill, so that exposure counts it before it does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.contracts import Side


@dataclass(slots=True)
class _Working:
    symbol: str
    side: Side
    target_lots: int  # what it will have filled in the end: the whole order until a final update says less
    filled_lots: int = 0

    @property
    def remaining(self) -> int:
        remaining = self.target_lots - self.filled_lots
        return remaining if remaining > 0 else 0


class WorkingOrders:
    """Lots that may still fill, by symbol and side.

    An order leaves when its fills have been seen, not when it is reported filled: updates and fills
    may come in any order, and exposure must not vanish in between.
    """

    def __init__(self) -> None:
        self._orders: dict[str, _Working] = {}
        self._lots: dict[tuple[str, str], int] = {}

    def __len__(self) -> int:
        return len(self._orders)

    def open_lots(self, symbol: str, side: str) -> int:
        """Lots of a side that may still fill."""
        return self._lots.get((symbol, side), 0)

    def add(self, order_id: str, symbol: str, side: Side, lots: int) -> None:
        """An order was allowed."""
        order = self._orders[order_id] = _Working(symbol, side, lots)
        self._lots[symbol, side] = self._lots.get((symbol, side), 0) + order.remaining

    def fill(self, order_id: str, lots: int) -> None:
        """Lots of an order have filled; ids that are not working are ignored."""
        order = self._orders.get(order_id)
        if order is not None:
            previous = order.remaining
            order.filled_lots += lots
            self._settle(order_id, order, previous)

    def finish(self, order_id: str, filled_lots: int) -> None:
        """An order will fill ``filled_lots`` altogether and no more; ids that are not working are ignored."""
        order = self._orders.get(order_id)
        if order is not None:
            previous = order.remaining
            order.target_lots = filled_lots
            self._settle(order_id, order, previous)

    def snapshot(self) -> dict[str, Any]:
        """The orders as plain JSON values."""
        return {
            order_id: [o.symbol, o.side, o.target_lots, o.filled_lots] for order_id, o in sorted(self._orders.items())
        }

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Become what ``snapshot`` describes."""
        self._orders.clear()
        self._lots.clear()
        for order_id, (symbol, side, target, filled) in snapshot.items():
            self.add(order_id, symbol, side, target)
            self.fill(order_id, filled)

    def _settle(self, order_id: str, order: _Working, previous: int) -> None:
        key, remaining = (order.symbol, order.side), order.remaining
        open_lots = self._lots[key] + remaining - previous
        if not remaining:
            del self._orders[order_id]
        if open_lots:
            self._lots[key] = open_lots
        else:
            del self._lots[key]
