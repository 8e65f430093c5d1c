"""The one matching core: orders of one symbol against what trades there, in integers of lots and ticks.

The paper venue feeds it recorded trades, the backtester trades or bars. It keeps the orders and their
priority; when and at which price they fill is the fill model's to say, and is checked here.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass

from core.contracts import Liquidity, Side
from core.contracts.fast_init import quickly_built
from core.costs import BarRange
from core.errors import ContractError
from execution.fill_models import FillModel, Match, Print, WorkingOrder


@quickly_built
@dataclass(frozen=True, slots=True)
class Execution:
    """Lots of one order that filled at a price. ``remaining`` is what is left of the order after it."""

    order_id: str
    lots: int
    ticks: int
    liquidity: Liquidity
    ts_ns: int
    remaining: int


class MatchingCore:
    """Open orders of one symbol. An order fills only from what came strictly after it was accepted.

    The trade that a decision was taken on carries the time of that decision and can therefore never fill
    the order it led to. The last price is the only thing from before that an order may use.
    """

    def __init__(self, model: FillModel) -> None:
        self._model = model
        self._queues: dict[Side, list[WorkingOrder]] = {"buy": [], "sell": []}
        self._orders: dict[str, WorkingOrder] = {}
        self._last: int | None = None
        self._last_ts = 0

    @property
    def last_ticks(self) -> int | None:
        """The price of the latest trade or bar close, None before the first."""
        return self._last

    @property
    def open_orders(self) -> tuple[WorkingOrder, ...]:
        """The orders at work, in order of arrival."""
        return tuple(self._orders.values())

    def place(self, order: WorkingOrder) -> list[Execution]:
        """Put an order to work; returns what fills at once.

        Raises:
            ContractError: no lots or no price to work with, an order of that id is at work already, or a fill model
                that fills another quantity than the whole order at once.
        """
        self._check(order)
        match = self._model.on_placed(order, self._last)
        if match is None:
            self._insert(order)
            return []
        if match.lots != order.remaining:
            raise ContractError(
                f"order {order.order_id}: expected a fill of all {order.remaining} lots or none at placement, got "
                f"{match.lots} from fill model {self._model.name}"
            )
        order.remaining = 0  # it need not queue
        ts_ns = max(order.ts_ns, self._last_ts)
        return [Execution(order.order_id, match.lots, match.ticks, match.liquidity, ts_ns, 0)]

    def recover(self, order: WorkingOrder) -> None:
        """Put an order back to work after a restart: it fills nothing now and queues anew at its price."""
        self._check(order)
        self._model.on_placed(order, None)
        self._insert(order)

    def recover_execution(self, order_id: str, lots: int, liquidity: Liquidity) -> None:
        """Take back an execution from before a restart. Raises ContractError beyond what remains."""
        order = self._orders[order_id]
        if liquidity == "maker":
            order.ahead = 0
        self._take(order, lots)

    def cancel(self, order_id: str) -> WorkingOrder | None:
        """Take an order back; None if it is not at work."""
        order = self._orders.get(order_id)
        if order is not None:
            self._remove(order)
        return order

    def on_trade(self, ticks: int, lots: int, taker_side: Side, ts_ns: int) -> list[Execution]:
        """A recorded trade: what it fills. A late one moves the last price no more."""
        executions: list[Execution] = []
        if self._orders:
            queues = self._accepted_before(ts_ns)
            executions = self._settle(self._model.on_trade(queues, Print(ticks, lots, taker_side)), ts_ns)
        self._advance(ticks, ts_ns)
        return executions

    def on_bar(self, bar: BarRange, ts_open_ns: int, ts_close_ns: int) -> list[Execution]:
        """A closed bar: what it fills, among the orders that were accepted by the time it opened."""
        executions: list[Execution] = []
        if self._orders:
            queues = self._accepted_before(ts_open_ns + 1)
            executions = self._settle(self._model.on_bar(queues, bar), ts_close_ns)
        self._advance(bar.close, ts_close_ns)
        return executions

    def mark(self, ticks: int, ts_ns: int) -> None:
        """Say what the price is at a time at which nothing is to be matched: a bar's open or close."""
        self._advance(ticks, ts_ns)

    def _advance(self, ticks: int, ts_ns: int) -> None:
        if ts_ns >= self._last_ts:
            self._last, self._last_ts = ticks, ts_ns

    def _accepted_before(self, ts_ns: int) -> dict[Side, list[WorkingOrder]]:
        return {side: [o for o in queue if o.ts_ns < ts_ns] for side, queue in self._queues.items()}

    def _settle(self, matches: list[Match], ts_ns: int) -> list[Execution]:
        executions = []
        for order, lots, ticks, liquidity in matches:
            self._take(order, lots)
            executions.append(Execution(order.order_id, lots, ticks, liquidity, ts_ns, order.remaining))
        return executions

    def _take(self, order: WorkingOrder, lots: int) -> None:
        if not 0 < lots <= order.remaining:
            raise ContractError(
                f"order {order.order_id}: expected a fill of 1 to {order.remaining} lots, got {lots} "
                f"from fill model {self._model.name}"
            )
        order.remaining -= lots
        if not order.remaining:
            self._remove(order)

    def _check(self, order: WorkingOrder) -> None:
        if order.order_id in self._orders:
            raise ContractError(f"order {order.order_id}: expected a new order, got the id of one that is at work")
        if order.remaining < 1 or (order.limit_ticks is not None and order.limit_ticks < 1):
            raise ContractError(
                f"order {order.order_id}: expected at least one lot and one tick, "
                f"got {order.remaining} lots at {order.limit_ticks} ticks"
            )

    def _insert(self, order: WorkingOrder) -> None:
        self._orders[order.order_id] = order
        insort(self._queues[order.side], order, key=_priority)  # to the right of its equals: time priority

    def _remove(self, order: WorkingOrder) -> None:
        del self._orders[order.order_id]
        self._queues[order.side].remove(order)


def _priority(order: WorkingOrder) -> int:
    """Best first: market orders, then by price."""
    if order.limit_ticks is None:
        return -(1 << 62)
    return -order.limit_ticks if order.side == "buy" else order.limit_ticks
