"""The life of every order at a venue: open, partially filled, then filled, canceled or rejected for good.

What it knows is a fold over the venue's own answers, so a restart brings it back. Ids of finished orders
are kept, so that a repeat is recognised; the oldest are forgotten beyond ``REMEMBERED``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from core import ids
from core.contracts import OrderEvent, OrderStatus, OrderUpdate
from core.contracts.fast_init import trusted
from core.errors import ContractError
from core.instruments import Instrument

_order_update: Final = trusted(OrderUpdate)  # of a checked order and our own counts
REMEMBERED: Final = 10_000  # finished orders, and early cancels, whose ids are kept


@dataclass(slots=True)
class OpenOrder:
    """An accepted order in lots; ``spent`` is lots times ticks over its ``fills`` so far."""

    event: OrderEvent
    instrument: Instrument
    lots: int
    filled: int = 0
    spent: int = 0
    fills: int = 0

    @property
    def remaining(self) -> int:
        """Lots not filled yet."""
        return self.lots - self.filled

    @property
    def status(self) -> OrderStatus:
        """The status that the fills so far give it."""
        if not self.filled:
            return "open"
        return "partially_filled" if self.remaining else "filled"

    @property
    def avg_price(self) -> float:
        """Average price of the fills so far in quote currency, 0.0 without any."""
        if not self.filled:
            return 0.0
        ticks, rest = divmod(self.spent, self.filled)
        if not rest:
            return self.instrument.price(ticks)
        return float(Fraction(self.instrument.tick_size) * self.spent / self.filled)

    def add(self, lots: int, ticks: int) -> None:
        """Count one more fill. Raises ContractError beyond the order's quantity."""
        if not 0 < lots <= self.remaining:
            raise ContractError(
                f"order {self.event.order_id}: expected a fill of 1 to {self.remaining} lots, got {lots}"
            )
        self.filled += lots
        self.spent += lots * ticks
        self.fills += 1

    def update(self, ts_ns: int, status: OrderStatus | None = None, reason: str = "") -> OrderUpdate:
        """The order as it stands, in ``status`` or in the one its fills make."""
        if not self.filled:
            return order_update(self.event, ts_ns, status or "open", reason)
        filled_qty = self.instrument.qty(self.filled)
        return order_update(self.event, ts_ns, status or self.status, reason, filled_qty, self.avg_price)

    def to_plain(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"order": self.event.to_dict(), "filled": self.filled, "spent": self.spent, "fills": self.fills}


def order_update(
    order: OrderEvent, ts_ns: int, status: OrderStatus, reason: str = "", filled_qty: float = 0.0, avg_price: float = 0
) -> OrderUpdate:
    """The state of an order as the message that tells it."""
    return _order_update(
        order_id=identity(order),
        intent_id=order.intent_id,
        strategy_id=order.strategy_id,
        venue=order.venue,
        symbol=order.symbol,
        side=order.side,
        type=order.type,
        qty=order.qty,
        limit_price=order.limit_price,
        status=status,
        filled_qty=filled_qty,
        avg_price=float(avg_price),
        ts_updated_ns=ts_ns,
        reason=reason,
    )


def identity(order: OrderEvent) -> str:
    """The order's id; one that came without gets the id that follows from its intent."""
    return order.order_id or ids.order_id(order.intent_id)


class OrderRegistry:
    """Open orders, and which ids were seen before. Finished is final: an id never opens twice."""

    def __init__(self) -> None:
        self._open: dict[str, OpenOrder] = {}
        self._finished: dict[str, None] = {}
        self._early_cancels: dict[str, None] = {}

    def knows(self, order_id: str) -> bool:
        """True when the order is open or was finished not too long ago."""
        return order_id in self._open or order_id in self._finished

    def get(self, order_id: str) -> OpenOrder | None:
        """The open order of that id, if any."""
        return self._open.get(order_id)

    @property
    def any_open(self) -> bool:
        """True when there is an open order."""
        return bool(self._open)

    def all_open(self) -> tuple[OpenOrder, ...]:
        """The open orders in order of arrival."""
        return tuple(self._open.values())

    def open(self, event: OrderEvent, instrument: Instrument) -> OpenOrder:
        """Take a new order. Raises ContractError for an id seen before or a quantity off the grid."""
        if self.knows(event.order_id):
            raise ContractError(f"order {event.order_id}: expected a new order, got an id that was used")
        order = OpenOrder(event, instrument, instrument.lots(event.qty))
        self._open[event.order_id] = order
        return order

    def finish(self, order_id: str) -> None:
        """The order can change no more; also for one that never opened."""
        self._open.pop(order_id, None)
        self._early_cancels.pop(order_id, None)
        _remember(self._finished, order_id)

    def cancel_later(self, order_id: str) -> None:
        """A cancel overtook its order: two streams promise no order between them."""
        _remember(self._early_cancels, order_id)

    def canceled_early(self, order_id: str) -> bool:
        """True when a cancel came before the order did."""
        return order_id in self._early_cancels

    def snapshot(self) -> dict[str, Any]:
        """Everything known, as plain JSON values."""
        return {
            "open": [order.to_plain() for order in self._open.values()],
            "finished": list(self._finished),
            "early_cancels": list(self._early_cancels),
        }

    def load(self, snapshot: Mapping[str, Any], instruments: Mapping[str, Instrument]) -> None:
        """Become what ``snapshot`` describes. Raises UnknownSymbolError, ContractError."""
        self._open = {}
        self._finished = dict.fromkeys(snapshot["finished"])
        self._early_cancels = dict.fromkeys(snapshot["early_cancels"])
        for saved in snapshot["open"]:
            event = OrderEvent.from_dict(saved["order"])
            order = self.open(event, instruments[event.symbol])
            order.filled, order.spent, order.fills = saved["filled"], saved["spent"], saved["fills"]


def _remember(order_ids: dict[str, None], order_id: str) -> None:
    """Keep an id, as the latest; forget the oldest beyond the limit."""
    order_ids.pop(order_id, None)
    order_ids[order_id] = None
    if len(order_ids) > REMEMBERED:
        del order_ids[next(iter(order_ids))]
