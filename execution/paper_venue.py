"""The paper trader: a venue that takes the same orders as a live broker and fills them from recorded trades.

State that outlives the process (open orders, positions, the kill switch) is a fold over its own answers;
last prices and an order's place in the queue are learnt again from the market after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core import ids
from core.contracts import (
    Contract,
    DenialCode,
    FillEvent,
    KillSwitchEvent,
    OrderCancel,
    OrderEvent,
    OrderUpdate,
    PositionSnapshot,
    TradeEvent,
)
from core.costs import FeeSchedule
from core.errors import ContractError, RejectedError
from core.instruments import Instrument, Instruments
from core.position_ledger import Method, Position, PositionLedger
from execution.account import AccountSummary, summarize
from execution.decision_check import refusal
from execution.fill_models import DEFAULT_FILL_MODEL, WorkingOrder, fill_model
from execution.matching import Execution, MatchingCore
from execution.order_registry import OpenOrder, OrderRegistry, identity, order_update
from execution.used_trades import UsedTrades

HALTED = "halted"  # the reason on whatever the kill switch refused or took back


@dataclass
class VenueCounters:
    """Messages that the venue passed over: orders it had seen before, cancels of orders that were done."""

    duplicate_orders: int = 0
    late_cancels: int = 0


class PaperVenue:
    """Simulates a venue; ``Component`` and ``Durable``.

    Per accepted order it answers ``OrderUpdate(open)``; per fill ``FillEvent``, ``OrderUpdate`` and
    ``PositionSnapshot`` (of the whole account in that symbol), in this order. It refuses orders that do
    not carry their allowed decision. When the kill switch trips, every open order is canceled and new
    ones are rejected until it is cleared; positions are left as they are.

    Args:
        instruments: what can be traded; other symbols are rejected.
        fill_model_name: one of ``FILL_MODELS``, with its ``fill_parameters``.
        method: ``fifo`` or ``average`` cost accounting.
        starting_cash: by quote currency; a currency left out starts at 0.

    Raises:
        ConfigError: unknown fill model, parameter or method.
    """

    name = "paper_trader"

    def __init__(
        self,
        instruments: Instruments,
        fill_model_name: str = DEFAULT_FILL_MODEL,
        fill_parameters: Mapping[str, Any] | None = None,
        method: Method = "fifo",
        starting_cash: Mapping[str, float] | None = None,
    ) -> None:
        model = fill_model(fill_model_name, fill_parameters)
        self.counters = VenueCounters()
        self._instruments = instruments
        self._cores = {symbol: MatchingCore(model) for symbol in instruments}
        self._fees = {symbol: FeeSchedule(instrument) for symbol, instrument in instruments.items()}
        self._orders = OrderRegistry()
        self._used = UsedTrades()
        self._positions = PositionLedger(instruments, method)
        self._starting_cash = dict(starting_cash or {})
        self._halted = False

    @property
    def halted(self) -> bool:
        """True while the kill switch is tripped."""
        return self._halted

    @property
    def open_orders(self) -> tuple[OpenOrder, ...]:
        """Orders that have not ended."""
        return self._orders.all_open()

    def position(self, symbol: str) -> Position:
        """The position in a symbol. Raises UnknownSymbolError."""
        return self._positions.position(symbol)

    def account(self, currency: str = "USDT") -> AccountSummary:
        """Cash, equity at last prices, profit and loss and fees in one quote currency."""
        marks = {
            symbol: self._instruments[symbol].price(core.last_ticks)
            for symbol, core in self._cores.items()
            if core.last_ticks is not None
        }
        positions = self._positions.positions().values()
        return summarize(currency, self._starting_cash.get(currency, 0.0), positions, marks)

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """Take a trade, order, cancel or the kill switch; anything else answers nothing. So does a trade that filled
        something already, or that comes after a later one did: its volume may be used.

        Raises:
            UnknownSymbolError, ContractError: a trade of an unknown symbol or off its grid. Nothing changes.
            RejectedError: an order without the decision that allows it; its id stays free. A cancel of another
                strategy's order.
        """
        if isinstance(event, TradeEvent):
            return self._on_trade(event)
        if isinstance(event, OrderEvent):
            return self._on_order(event)
        if isinstance(event, OrderCancel):
            return self._on_cancel(event)
        if isinstance(event, KillSwitchEvent):
            return self._on_kill_switch(event)
        return ()

    def recover(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        """Take back one transaction of this venue's ledger."""
        if isinstance(cause, KillSwitchEvent):
            self._halted = cause.tripped
        elif isinstance(cause, OrderCancel) and not self._orders.knows(cause.order_id):
            self._orders.cancel_later(cause.order_id)
        for event in events:
            if isinstance(event, FillEvent):
                self._recover_fill(event)
            elif isinstance(event, OrderUpdate) and event.status == "open":
                self._recover_open(cause, event)
            elif isinstance(event, OrderUpdate) and event.done:
                self._finish(event.order_id, event.symbol)

    def snapshot(self) -> dict[str, Any]:
        """Open orders with their fills, ids seen, positions, trades used, kill switch."""
        return {
            "halted": self._halted,
            "orders": self._orders.snapshot(),
            "positions": self._positions.snapshot(),
            "used_trades": self._used.snapshot(),
        }

    def load_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Become the venue that ``snapshot`` describes. Only for one that has seen nothing yet.

        Raises:
            UnknownSymbolError, ContractError, ConfigError: it does not fit the instruments or the accounting method.
        """
        self._positions.load(snapshot["positions"])
        self._orders.load(snapshot["orders"], self._instruments)
        self._used.load(snapshot["used_trades"])
        self._halted = snapshot["halted"]
        for order in self._orders.all_open():
            self._cores[order.event.symbol].recover(_working(order))

    def _on_trade(self, trade: TradeEvent) -> list[Contract]:
        instrument = self._instruments[trade.symbol]
        ticks, lots = instrument.ticks(trade.price), instrument.lots(trade.qty)
        if trade in self._used:
            return []
        executions = self._cores[trade.symbol].on_trade(ticks, lots, trade.side, trade.ts)
        return self._fill_all(executions, trade.trade_id) if executions else []

    def _on_order(self, event: OrderEvent) -> list[Contract]:
        order_id = identity(event)
        if self._orders.knows(order_id):
            self.counters.duplicate_orders += 1
            return []
        if forged := refusal(event):
            # No answer and no memory of its id: the genuine order may still come under it.
            raise RejectedError(f"order {order_id} refused, {forged}")
        reason = (HALTED if self._halted else "") or _off_grid(event, self._instruments)
        if reason:
            self._orders.finish(order_id)
            return [order_update(event, event.ts_ns, "rejected", reason)]
        if self._orders.canceled_early(order_id):
            self._orders.finish(order_id)
            return [order_update(event, event.ts_ns, "canceled", "canceled before it arrived")]
        order = self._orders.open(event, self._instruments[event.symbol])
        accepted = order.update(event.ts_ns)
        return [accepted, *self._fill_all(self._cores[event.symbol].place(_working(order)))]

    def _on_cancel(self, cancel: OrderCancel) -> list[Contract]:
        order = self._orders.get(cancel.order_id)
        if order is not None:
            if cancel.strategy_id not in ("", order.event.strategy_id):  # without a name it is an operator's
                raise RejectedError(
                    f"cancel of order {cancel.order_id}: expected it to come from {order.event.strategy_id!r}, "
                    f"got {cancel.strategy_id!r}"
                )
            return [self._cancel(order, cancel.ts_ns, cancel.reason)]
        if self._orders.knows(cancel.order_id):
            self.counters.late_cancels += 1
        else:
            self._orders.cancel_later(cancel.order_id)
        return []

    def _on_kill_switch(self, event: KillSwitchEvent) -> list[Contract]:
        self._halted = event.tripped
        if not event.tripped:
            return []
        return [self._cancel(order, event.ts_ns, HALTED) for order in self._orders.all_open()]

    def _cancel(self, order: OpenOrder, ts_ns: int, reason: str) -> OrderUpdate:
        self._finish(order.event.order_id, order.event.symbol)
        return order.update(ts_ns, "canceled", reason)

    def _fill_all(self, executions: Iterable[Execution], trade_id: str = "") -> list[Contract]:
        return [event for execution in executions for event in self._fill(execution, trade_id)]

    def _fill(self, execution: Execution, trade_id: str) -> Iterator[Contract]:
        order = self._open_order(execution.order_id)
        event, instrument = order.event, order.instrument
        fill = FillEvent(
            order_id=event.order_id,
            symbol=event.symbol,
            side=event.side,
            qty=instrument.qty(execution.lots),
            price=instrument.price(execution.ticks),
            fee=self._fees[event.symbol].fee(execution.lots, execution.ticks, execution.liquidity),
            ts_fill_ns=execution.ts_ns,
            fill_id=ids.fill_id(event.order_id, order.fills + 1),
            intent_id=event.intent_id,
            strategy_id=event.strategy_id,
            venue=event.venue,
            liquidity=execution.liquidity,
            trade_id=trade_id,
            meta=event.meta,
        )
        position = self._book(order, fill)
        yield fill
        yield order.update(execution.ts_ns)
        yield self._position_snapshot(position, fill)

    def _book(self, order: OpenOrder, fill: FillEvent) -> Position:
        """The one place where a fill changes anything, live and after a restart."""
        order.add(order.instrument.lots(fill.qty), order.instrument.ticks(fill.price))
        if not order.remaining:
            self._orders.finish(fill.order_id)
        self._used.add(fill.symbol, fill.ts_fill_ns, fill.trade_id)
        return self._positions.apply(fill)

    def _position_snapshot(self, position: Position, fill: FillEvent) -> PositionSnapshot:
        last = self._cores[fill.symbol].last_ticks
        mark = fill.price if last is None else position.instrument.price(last)
        return PositionSnapshot(
            symbol=fill.symbol,
            qty=position.qty,
            avg_price=position.avg_price,
            realized_pnl=position.realized_pnl,
            ts_ns=fill.ts_fill_ns,
            unrealized_pnl=position.unrealized_pnl(mark),
            fees_paid=position.fees_paid,
            mark_price=mark,
        )

    def _finish(self, order_id: str, symbol: str) -> None:
        self._orders.finish(order_id)
        core = self._cores.get(symbol)
        if core is not None:
            core.cancel(order_id)

    def _open_order(self, order_id: str) -> OpenOrder:
        order = self._orders.get(order_id)
        if order is None:
            raise ContractError(f"order {order_id}: expected it to be open, got a fill of an order that is not")
        return order

    def _recover_open(self, cause: Contract | None, update: OrderUpdate) -> None:
        if not isinstance(cause, OrderEvent):
            raise ContractError(f"order {update.order_id}: expected its OrderEvent as the cause, got {cause!r}")
        order = self._orders.open(cause, self._instruments[cause.symbol])
        self._cores[cause.symbol].recover(_working(order))

    def _recover_fill(self, fill: FillEvent) -> None:
        order = self._open_order(fill.order_id)
        self._cores[fill.symbol].recover_execution(fill.order_id, order.instrument.lots(fill.qty), fill.liquidity)
        self._book(order, fill)


def _off_grid(order: OrderEvent, instruments: Instruments) -> str:
    """The reason for which an order does not fit its instrument, or an empty text."""
    instrument = instruments.get(order.symbol)
    if instrument is None:
        return f"{DenialCode.UNKNOWN_SYMBOL}: expected one of {', '.join(instruments)}, got {order.symbol!r}"
    code = DenialCode.LOT_SIZE
    try:
        instrument.lots(order.qty)
        code = DenialCode.TICK_SIZE
        if order.type == "limit" and order.limit_price is not None:
            instrument.ticks(order.limit_price)
    except ContractError as error:
        return f"{code}: {error}"
    return ""


def _working(order: OpenOrder) -> WorkingOrder:
    """The order as the matching core sees it. A market order's limit price is only what it may fall back to."""
    event, price = order.event, order.event.limit_price
    limit = fallback = None
    if price is not None:
        if event.type == "limit":
            limit = order.instrument.ticks(price)
        else:
            fallback = _nearest_tick(order.instrument, price)
    return WorkingOrder(event.order_id, event.side, order.lots, limit, event.ts_ns, fallback, order.remaining)


def _nearest_tick(instrument: Instrument, price: float) -> int:
    return max(1, instrument.ticks(instrument.round_price(price)))
