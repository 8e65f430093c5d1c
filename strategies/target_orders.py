"""Target orders: from "be long" to the one order that is missing, counted in lots.

A strategy that says what it wants to hold, not what it wants to do, cannot buy the same position twice. A symbol with
an aim is in one of four stages, which follow from what is missing and what is under way alone (``stage_of``)::

    no aim ── aim ──▶ MISSING ── one order ──▶ APPROACHING ── last fill ──▶ REACHED
       ▲                 ▲                       │      │                      │
       │                 │                  other aim  setback             other aim
       │                 │                       ▼      │                      ▼
       │                 └── all ended ────── CLEARING  │                   MISSING
       └────────────────────────────────────────────────┘

    stage         missing   under way            answer
    REACHED       nothing   nothing              nothing
    MISSING       n lots    nothing              one order over n lots
    APPROACHING   n lots    one order over n     nothing
    CLEARING      any       anything else        a cancel of each order that has none yet

A setback is an order that is denied, rejected, or canceled by somebody else. It ends the aim: the next signal sets
another. Only a reversal that is denied for what it opens becomes the aim to be flat: nobody is to stay long against a
sell signal because the short was refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from enum import Enum, auto
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
REASON: Final = "another target"  # of the cancels
DENIED_FOR_OPENING: Final = frozenset(
    {
        DenialCode.PER_ORDER_CAP,
        DenialCode.POSITION_CAP,
        DenialCode.DAILY_LOSS_CAP,
        DenialCode.REDUCING,
        DenialCode.STALE_PRICE,
    }
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


class Stage(Enum):
    """The place of a symbol on the way to its aim."""

    REACHED = auto()
    MISSING = auto()
    APPROACHING = auto()
    CLEARING = auto()


def stage_of(missing_lots: int, under_way: Sequence[OpenOrder]) -> Stage:
    """The stage of a symbol that lacks so many lots, signed, and has these orders under way."""
    if not under_way:
        return Stage.MISSING if missing_lots else Stage.REACHED
    first = under_way[0]
    if len(under_way) == 1 and not first.cancel_requested and first.signed_lots == missing_lots:
        return Stage.APPROACHING
    return Stage.CLEARING


@quickly_built
@dataclasses.dataclass(frozen=True, slots=True)
class Aim:
    """The position that a symbol is to have. ``price`` in quote currency is where a limit order stands.

    ``superseded`` are the intents whose orders were canceled for this aim: their end is no setback. ``answered`` is
    the event that was answered last; the answer is not among the open orders before the next one.
    """

    direction: float
    price: float
    superseded: tuple[str, ...] = ()
    answered: str = ""


_NO_AIM: Final = Aim(0, 0.0)
_REPORTS: Final = (RiskDecision, OrderUpdate, FillEvent)


class TargetOrders:
    """Orders that move each symbol's position to plus, minus, no or any other multiple of ``qty``.

    What is held and under way is read from the context. The order that is missing follows only when every other one
    has ended, so that held and open together never exceed ``qty``.
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
            symbol: of the position.
            direction: 1 long, -1 short (flat when shorts are not allowed), 0 flat; anything else to the nearest lot.
            price: of the signal, in quote currency; where a limit order stands.
        """
        previous = self._aims.get(symbol, _NO_AIM)
        ending = [
            order.intent_id
            for order in self._under_way(symbol)
            if order.cancel_requested or order.intent_id in previous.superseded
        ]
        self._aims[symbol] = Aim(direction, price, tuple(ending), previous.answered)
        return self._approach(cause, symbol)

    def settle(self, event: Contract) -> list[OrderIntent | OrderCancel]:
        """The orders and cancels that follow from a report on an order. To be called with every event, before
        ``aim``."""
        if not isinstance(event, _REPORTS):
            return []
        if event.symbol in self._unanswered:
            self._unanswered.remove(event.symbol)
        elif _changes_nothing(event):
            return []
        aim = self._aims.get(event.symbol)
        if aim is None:
            return []
        if _came_to_nothing(event) and event.intent_id not in aim.superseded:
            del self._aims[event.symbol]
            if not self._could_close(event, aim):
                return []
            self._aims[event.symbol] = dataclasses.replace(aim, direction=0)
        return self._approach(event, event.symbol)

    def state(self) -> dict[str, tuple[Any, ...]]:
        """The aims by symbol as plain values, for a successor."""
        return {symbol: dataclasses.astuple(aim) for symbol, aim in self._aims.items()}

    def load_state(self, state: Mapping[str, tuple[Any, ...]]) -> None:
        """Take over the aims in the symbols that are still traded."""
        self._aims = {symbol: Aim(*values) for symbol, values in state.items() if symbol in self._lots}
        self._unanswered = set(self._aims)  # under other parameters, orders under way may lead elsewhere now

    def _approach(self, cause: Contract, symbol: str) -> list[OrderIntent | OrderCancel]:
        """The answer of the symbol's stage."""
        aim = self._aims[symbol]
        missing = round(max(aim.direction, self._lowest) * self._lots[symbol]) - self._held_lots(symbol)
        under_way = self._under_way(symbol)
        stage = stage_of(missing, under_way)
        if stage is Stage.REACHED or stage is Stage.APPROACHING:
            return []
        name = identity_of(cause)
        if aim.answered == name:
            self._unanswered.add(symbol)
            return []
        if stage is Stage.MISSING:
            self._aims[symbol] = Aim(aim.direction, aim.price, aim.superseded, name)
            return [self._order(cause, name, symbol, missing, aim.price)]
        unwanted = [order for order in under_way if not (order.cancel_requested or order.ended)]
        if unwanted:
            superseded = (*aim.superseded, *(order.intent_id for order in unwanted))
            self._aims[symbol] = Aim(aim.direction, aim.price, superseded, name)
        return [self._cancel(cause, order) for order in unwanted]

    def _could_close(self, setback: Contract, aim: Aim) -> bool:
        """True when a setback is the denial of a reversal whose closing part would pass."""
        if not isinstance(setback, RiskDecision) or setback.code not in DENIED_FOR_OPENING:
            return False
        return max(aim.direction, self._lowest) * self._held_lots(setback.symbol) < 0

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

    def _held_lots(self, symbol: str) -> int:
        position = self._positions.get(symbol)
        return self._instruments[symbol].lots(position.qty) if position is not None and position.qty else 0

    def _size(self, symbol: str, qty: float) -> int:
        instrument = self._context.instruments[symbol]
        lots = instrument.lots(instrument.floor_qty(qty))
        if lots < 1:
            raise ConfigError(
                f"strategy {self._context.strategy_id!r}: params.qty: expected at least one lot of {symbol}, "
                f"{instrument.lot_size}, got {qty}"
            )
        return lots


def _changes_nothing(event: RiskDecision | OrderUpdate | FillEvent) -> bool:
    """True when neither what is held nor what is under way can have changed since the order was answered."""
    if isinstance(event, RiskDecision):
        return event.allowed
    return isinstance(event, OrderUpdate) and not event.done


def _came_to_nothing(event: RiskDecision | OrderUpdate | FillEvent) -> bool:
    """True when an order was denied, rejected or canceled."""
    if isinstance(event, RiskDecision):
        return not event.allowed
    return isinstance(event, OrderUpdate) and event.status in ("canceled", "rejected")
