"""From "be long" to the one order that is missing: never more than one under way per symbol, counted in lots.

A strategy that says what it wants to hold, not what it wants to do, cannot buy the same position twice.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import inf
from typing import Annotated, Any, Final, Literal

import msgspec

from core import ids
from core.contracts import (
    Contract,
    DenialCode,
    FillEvent,
    OrderCancel,
    OrderIntent,
    OrderType,
    OrderUpdate,
    RiskDecision,
    Side,
)
from core.contracts.fast_init import quickly_built
from core.errors import ConfigError
from strategies.context import StrategyContext
from strategies.identity import identity_of
from strategies.orders.open_orders import OpenOrder

Direction = Literal[1, 0, -1]
REASON: Final = "another target"  # what a cancel gives as its reason
FOR_ITS_SIZE: Final = frozenset(
    {DenialCode.PER_ORDER_CAP, DenialCode.POSITION_CAP, DenialCode.DAILY_LOSS_CAP, DenialCode.REDUCING}
)
"""Denials that an order may meet for what it opens, while the part of it that closes would pass."""


class TargetParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameters that every strategy with a target position has.

    ``qty`` is in base currency. Limit orders stand at the price of the signal. ``allow_short`` false makes a
    sell signal mean "flat". ``period_s`` is the time between two samples of the trade price, 0 for every trade.
    """

    qty: Annotated[float, msgspec.Meta(gt=0)] = 1.0
    order_type: Literal["market", "limit"] = "market"
    allow_short: bool = True
    period_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0


@quickly_built
@dataclasses.dataclass(frozen=True, slots=True)
class Aim:
    """What a symbol's position is to become. ``price`` in quote currency is where a limit order stands."""

    direction: float
    price: float
    waits_for: tuple[str, ...] = ()  # intents whose orders lead elsewhere: their end is wanted, not a setback
    answered: str = ""  # the event last answered: what was answered to it is not among the open orders yet


_NO_AIM: Final = Aim(0, 0.0)
_TELLING: Final = (RiskDecision, OrderUpdate, FillEvent)


class TargetOrders:
    """Orders that move each symbol's position to plus, minus, no or any other multiple of ``qty``.

    What is held and under way is read from the context. An order that does not lead exactly to the aim is
    canceled, and the one that is missing then follows only when the canceled one has ended, so that held and
    open together never exceed ``qty``. An order that is denied, rejected, or canceled by somebody else drops the
    aim: the next signal sets another. Only a reversal that is denied for its size becomes a close first: nobody is
    to stay long against a sell signal because the short was refused.
    """

    def __init__(self, context: StrategyContext, params: TargetParams) -> None:
        self._context = context
        self._positions, self._orders = context.positions, context.orders
        self._type: OrderType = params.order_type
        self._lowest = -inf if params.allow_short else 0
        self._lots = {symbol: self._size(symbol, params.qty) for symbol in context.symbols}
        self._instruments = {symbol: context.instruments[symbol] for symbol in context.symbols}
        self._aims: dict[str, Aim] = {}
        self._unanswered: set[str] = set()  # symbols whose aim nothing was answered to yet; never iterated

    def aim(self, cause: Contract, symbol: str, direction: float, price: float) -> list[OrderIntent | OrderCancel]:
        """Aim at ``direction`` times the quantity in ``symbol``: the order that is missing, or the cancel before it.

        Args:
            cause: the event that the signal came from; names the intent and gives its time.
            symbol: what to trade.
            direction: 1 long, -1 short (flat when shorts are not allowed), 0 flat; anything else to the nearest lot.
            price: of the signal, in quote currency; where a limit order stands.
        """
        before = self._aims.get(symbol, _NO_AIM)
        ending = [o.intent_id for o in self._under_way(symbol) if o.cancel_requested or o.intent_id in before.waits_for]
        self._aims[symbol] = Aim(direction, price, tuple(ending), before.answered)
        return self._approach(cause, symbol)

    def settle(self, event: Contract) -> list[OrderIntent | OrderCancel]:
        """What the aim takes now that an order has changed. To be called with every event, before ``aim``."""
        if not isinstance(event, _TELLING):
            return []
        if event.symbol in self._unanswered:
            self._unanswered.remove(event.symbol)
        elif _tells_nothing_new(event):
            return []
        aim = self._aims.get(event.symbol)
        if aim is None:
            return []
        if _came_to_nothing(event) and event.intent_id not in aim.waits_for:
            del self._aims[event.symbol]
            if not (isinstance(event, RiskDecision) and event.code in FOR_ITS_SIZE and self._turns(aim, event.symbol)):
                return []
            self._aims[event.symbol] = dataclasses.replace(aim, direction=0)
        return self._approach(event, event.symbol)

    def state(self) -> dict[str, tuple[Any, ...]]:
        """The aims by symbol as plain values, for a successor."""
        return {symbol: dataclasses.astuple(aim) for symbol, aim in self._aims.items()}

    def load_state(self, state: Mapping[str, tuple[Any, ...]]) -> None:
        """Take over the aims in the symbols that are still traded."""
        self._aims = {symbol: Aim(*plain) for symbol, plain in state.items() if symbol in self._lots}
        self._unanswered = set(self._aims)  # under other parameters, orders under way may lead elsewhere now

    def _approach(self, cause: Contract, symbol: str) -> list[OrderIntent | OrderCancel]:
        aim = self._aims[symbol]
        missing = round(max(aim.direction, self._lowest) * self._lots[symbol]) - self._held(symbol)
        under_way = self._under_way(symbol)
        if not (_leads_elsewhere(under_way, missing) if under_way else missing):
            return []  # as mostly: what follows is only for an order that is missing or one too many
        name = identity_of(cause)
        if aim.answered == name:
            self._unanswered.add(symbol)
            return []
        answers: list[OrderIntent | OrderCancel]
        if not under_way:
            answers = [self._order(cause, name, symbol, missing, aim.price)]
        else:
            unwanted = [order for order in under_way if not (order.cancel_requested or order.ended)]
            answers = [self._cancel(cause, order) for order in unwanted]
            aim = dataclasses.replace(aim, waits_for=(*aim.waits_for, *(order.intent_id for order in unwanted)))
        if answers:
            self._aims[symbol] = Aim(aim.direction, aim.price, aim.waits_for, name)
        return answers

    def _turns(self, aim: Aim, symbol: str) -> bool:
        """Whether the aim lies on the other side of flat."""
        return max(aim.direction, self._lowest) * self._held(symbol) < 0

    def _order(self, cause: Contract, name: str, symbol: str, lots: int, price: float) -> OrderIntent:
        instrument = self._instruments[symbol]
        side: Side = "buy" if lots > 0 else "sell"
        return OrderIntent(
            strategy_id=self._context.strategy_id,
            symbol=symbol,
            side=side,
            type=self._type,
            qty=instrument.qty(abs(lots)),
            limit_price=instrument.round_price(price, side) if self._type == "limit" else None,
            intent_id=ids.intent_id(self._context.strategy_id, f"{name}|{symbol}", 0),
            ts_local_ns=cause.ts_ns,
        )

    def _cancel(self, cause: Contract, order: OpenOrder) -> OrderCancel:
        return OrderCancel(order.order_id, order.symbol, self._context.strategy_id, cause.ts_ns, REASON)

    def _under_way(self, symbol: str) -> list[OpenOrder]:
        orders = self._orders
        return [order for order in orders.values() if order.symbol == symbol] if orders else []

    def _held(self, symbol: str) -> int:
        held = self._positions.get(symbol)
        return self._instruments[symbol].lots(held.qty) if held is not None and held.qty else 0

    def _size(self, symbol: str, qty: float) -> int:
        instrument = self._context.instruments[symbol]
        lots = instrument.lots(instrument.floor_qty(qty))
        if lots < 1:
            raise ConfigError(
                f"strategy {self._context.strategy_id!r}: params.qty: expected at least one lot of {symbol}, "
                f"{instrument.lot_size}, got {qty}"
            )
        return lots


def _tells_nothing_new(event: RiskDecision | OrderUpdate | FillEvent) -> bool:
    """Whether neither what is held nor what is under way can have changed since the order was answered."""
    if isinstance(event, RiskDecision):
        return event.allowed
    return isinstance(event, OrderUpdate) and not event.done


def _came_to_nothing(event: RiskDecision | OrderUpdate | FillEvent) -> bool:
    """Whether an order was denied, rejected or canceled."""
    if isinstance(event, RiskDecision):
        return not event.allowed
    return isinstance(event, OrderUpdate) and event.status in ("canceled", "rejected")


def _leads_elsewhere(under_way: Sequence[OpenOrder], missing: int) -> bool:
    """Whether the orders are anything but the one that is missing."""
    return len(under_way) != 1 or under_way[0].cancel_requested or under_way[0].signed_lots != missing
