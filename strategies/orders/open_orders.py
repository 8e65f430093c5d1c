"""Open orders of each strategy: a fold over the runner's own ledger, so that a restart forgets no order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from core import ids
from core.contracts import Contract, FillEvent, OrderCancel, OrderIntent, OrderUpdate, RiskDecision, Side
from core.contracts.fast_init import quickly_built
from core.instruments import Instruments

REMEMBERED: Final = 4_096  # ended orders whose ids are kept: the risk engine decides an id once, a repeat never opens


@quickly_built
@dataclasses.dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that may still fill, from the moment its intent was answered.

    ``qty`` (base currency) is what was asked for, ``open_lots`` how many lots of it may still fill. ``ended``: the
    venue has closed it, but fills that it counted are yet to arrive.
    """

    intent_id: str
    order_id: str
    strategy_id: str
    symbol: str
    side: Side
    qty: float
    limit_price: float | None
    open_lots: int
    cancel_requested: bool = False
    ended: bool = False

    @property
    def signed_lots(self) -> int:
        """The lots that it may still add to the position: negative for a sell."""
        return self.open_lots if self.side == "buy" else -self.open_lots


class OpenOrders:
    """The open orders of every strategy id, configured or not: one that comes back finds its orders.

    An order leaves with its denial, with the last of its fills, or with its final update once the fills that
    the update counts have been seen: exposure must not vanish while a fill is on its way.
    """

    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments
        self._open: dict[str, OpenOrder] = {}  # by order id
        self._ended: dict[str, None] = {}
        self._shown: dict[str, dict[str, OpenOrder]] = {}  # by strategy id, then intent id

    def view(self, strategy_id: str) -> Mapping[str, OpenOrder]:
        """The live, read-only open orders of a strategy by intent id, oldest first."""
        return MappingProxyType(self._shown.setdefault(strategy_id, {}))

    def learn(self, event: Contract) -> None:
        """Take in what was answered or what came back; anything that is about no order known here changes nothing.

        Raises:
            UnknownSymbolError: an intent's symbol is no longer configured.
            ContractError: a quantity off the instrument's grid. Nothing is changed then.
        """
        if isinstance(event, OrderIntent):
            self._start(event)
        elif isinstance(event, FillEvent):
            if (order := self._open.get(event.order_id)) is not None:
                self._reduce(order, order.open_lots - self._instruments[event.symbol].lots(event.qty))
        elif isinstance(event, OrderUpdate):
            if (order := self._open.get(event.order_id)) is not None and event.done:
                self._close(order, event)
        elif isinstance(event, OrderCancel):
            if (order := self._own(event)) is not None:
                self._put(dataclasses.replace(order, cancel_requested=True))
        elif (
            isinstance(event, RiskDecision)
            and not event.allowed
            and (order := self._open.get(ids.order_id(event.intent_id))) is not None
        ):
            self._end(order)

    def asked(self, intent_id: str) -> bool:
        """True when an order was asked for under this id before."""
        order_id = ids.order_id(intent_id)
        return order_id in self._open or order_id in self._ended

    def snapshot(self) -> dict[str, Any]:
        """Open orders and the ids of ended ones as plain JSON values."""
        return {"open": [dataclasses.asdict(order) for order in self._open.values()], "ended": list(self._ended)}

    def load(self, snapshot: Mapping[str, Any]) -> None:
        """Become what ``snapshot`` gave. Only for one that knows no order yet.

        Raises:
            UnknownSymbolError: an open order's symbol is no longer configured.
        """
        for saved in snapshot["open"]:
            order = OpenOrder(**saved)
            _ = self._instruments[order.symbol]
            self._put(order)
        self._ended = dict.fromkeys(snapshot["ended"])

    def _own(self, cancel: OrderCancel) -> OpenOrder | None:
        """The open order that the cancel is about; a venue refuses one of another strategy's."""
        order = self._open.get(cancel.order_id)
        return order if order is not None and order.strategy_id == cancel.strategy_id else None

    def _start(self, intent: OrderIntent) -> None:
        order_id = ids.order_id(intent.intent_id)
        if order_id in self._open or order_id in self._ended:
            return
        order = OpenOrder(
            intent_id=intent.intent_id,
            order_id=order_id,
            strategy_id=intent.strategy_id,
            symbol=intent.symbol,
            side=intent.side,
            qty=intent.qty,
            limit_price=intent.limit_price,
            open_lots=self._instruments[intent.symbol].lots(intent.qty),
        )
        self._put(order)

    def _close(self, order: OpenOrder, update: OrderUpdate) -> None:
        """The final update says how much has filled altogether: what of that was not seen yet is still to come."""
        if order.ended:
            return
        instrument = self._instruments[order.symbol]
        seen = instrument.lots(order.qty) - order.open_lots
        self._reduce(dataclasses.replace(order, ended=True), instrument.lots(update.filled_qty) - seen)

    def _reduce(self, order: OpenOrder, open_lots: int) -> None:
        if open_lots > 0:
            self._put(dataclasses.replace(order, open_lots=open_lots))
        else:
            self._end(order)

    def _put(self, order: OpenOrder) -> None:
        self._open[order.order_id] = order
        self._shown.setdefault(order.strategy_id, {})[order.intent_id] = order

    def _end(self, order: OpenOrder) -> None:
        del self._open[order.order_id]
        del self._shown[order.strategy_id][order.intent_id]
        self._ended[order.order_id] = None
        if len(self._ended) > REMEMBERED:
            del self._ended[next(iter(self._ended))]
