"""Trading as messages: intents, decisions, orders, fills, positions, and the state of risk."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf, isfinite
from typing import Any, Final, Literal, get_args

from core.contracts.base import (
    LATEST_NS,
    Contract,
    check_finite,
    check_named,
    check_not_negative,
    check_one_of,
    check_positive,
    check_shallow,
    check_time,
    fail,
)
from core.contracts.fast_init import quickly_built
from core.contracts.market import SIDES, Side

OrderType = Literal["market", "limit"]
Liquidity = Literal["maker", "taker"]
OrderStatus = Literal["open", "partially_filled", "filled", "canceled", "rejected"]

ORDER_TYPES: Final = ("market", "limit")
TERMINAL: Final = frozenset({"filled", "canceled", "rejected"})
ORDER_STATUSES: Final[tuple[str, ...]] = get_args(OrderStatus)
LIQUIDITIES: Final[tuple[str, ...]] = get_args(Liquidity)


class DenialCode(StrEnum):
    """The reason of a denial by the risk engine. The member's value is what ``RiskDecision.code`` carries."""

    HALTED = "HALTED"
    REDUCING = "REDUCING"
    PER_ORDER_CAP = "PER_ORDER_CAP"
    POSITION_CAP = "POSITION_CAP"
    DAILY_LOSS_CAP = "DAILY_LOSS_CAP"
    ORDER_RATE = "ORDER_RATE"
    PRICE_COLLAR = "PRICE_COLLAR"
    STALE_PRICE = "STALE_PRICE"
    NO_PRICE = "NO_PRICE"
    MIN_NOTIONAL = "MIN_NOTIONAL"
    LOT_SIZE = "LOT_SIZE"
    TICK_SIZE = "TICK_SIZE"
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    DUPLICATE_INTENT = "DUPLICATE_INTENT"


class TradingState(StrEnum):
    """The orders that the risk engine lets through: everything, only what reduces a position, nothing."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


@quickly_built
@dataclass(frozen=True, slots=True)
class OrderIntent(Contract):
    """A strategy's wish. ``intent_id`` and ``ts_local_ns`` are filled in by the strategy host when left out; a time
    later than the event it answers is brought back to it.

    ``meta`` travels with the order to its fills (execution and slice ids, tags).
    """

    strategy_id: str
    symbol: str
    side: Side
    type: OrderType
    qty: float
    limit_price: float | None = None
    intent_id: str = ""
    ts_local_ns: int = 0
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_named(self, "strategy_id", self.strategy_id)
        check_order_shape(self)
        check_time(self, "ts_local_ns", self.ts_local_ns)
        check_shallow(self, "meta", self.meta)

    @property
    def ts_ns(self) -> int:
        return self.ts_local_ns


@quickly_built
@dataclass(frozen=True, slots=True)
class RiskDecision(Contract):
    """The risk engine's answer to one intent, with the limits (``caps``) and numbers (``inputs``) it was taken on.

    ``reason`` is empty when allowed; otherwise the denial in words, for example
    ``PER_ORDER_CAP: notional=1250.00 cap=1000.00``, or ``halted`` under the kill switch.
    """

    intent_id: str
    allowed: bool
    reason: str
    caps: dict[str, float]
    decision_id: str = ""
    code: DenialCode | None = None
    strategy_id: str = ""
    symbol: str = ""
    ts_decided_ns: int = 0
    inputs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_named(self, "intent_id", self.intent_id)
        if not self.allowed and not self.reason:
            raise fail(self, "reason", "a reason on a denial", self.reason)
        for name, cap in self.caps.items():
            if not isfinite(cap):
                raise fail(self, f"caps[{name!r}]", "a finite number", cap)
        check_time(self, "ts_decided_ns", self.ts_decided_ns)
        check_shallow(self, "inputs", self.inputs)

    @property
    def ts_ns(self) -> int:
        return self.ts_decided_ns


@quickly_built
@dataclass(frozen=True, slots=True)
class OrderEvent(Contract):
    """An order that may go to a venue. It carries the decision that allowed it; a venue refuses it without."""

    intent_id: str
    venue: str
    symbol: str
    side: Side
    type: OrderType
    qty: float
    ts_accepted_ns: int
    limit_price: float | None = None
    order_id: str = ""
    strategy_id: str = ""
    decision: RiskDecision | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_named(self, "intent_id", self.intent_id)
        check_order_shape(self)
        check_time(self, "ts_accepted_ns", self.ts_accepted_ns)
        check_shallow(self, "meta", self.meta)

    @property
    def ts_ns(self) -> int:
        return self.ts_accepted_ns


@quickly_built
@dataclass(frozen=True, slots=True)
class OrderCancel(Contract):
    """A wish to take an order back. It needs no risk decision: it can only reduce what is open."""

    order_id: str
    symbol: str
    strategy_id: str
    ts_requested_ns: int
    reason: str = ""

    def __post_init__(self) -> None:
        check_named(self, "order_id", self.order_id)
        check_time(self, "ts_requested_ns", self.ts_requested_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts_requested_ns


@quickly_built
@dataclass(frozen=True, slots=True)
class OrderUpdate(Contract):
    """The state of an order after a change. ``avg_price`` is 0 while nothing is filled."""

    order_id: str
    intent_id: str
    strategy_id: str
    venue: str
    symbol: str
    side: Side
    type: OrderType
    qty: float
    limit_price: float | None
    status: OrderStatus
    filled_qty: float
    avg_price: float
    ts_updated_ns: int
    reason: str = ""

    def __post_init__(self) -> None:
        check_named(self, "order_id", self.order_id)
        check_order_shape(self)
        if (
            self.status in ORDER_STATUSES
            and (0 <= self.filled_qty < inf and 0 <= self.avg_price < inf)
            and 0 <= self.ts_updated_ns <= LATEST_NS
        ):
            return
        check_one_of(self, "status", self.status, ORDER_STATUSES)
        check_not_negative(self, "filled_qty", self.filled_qty)
        check_not_negative(self, "avg_price", self.avg_price)
        check_time(self, "ts_updated_ns", self.ts_updated_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts_updated_ns

    @property
    def done(self) -> bool:
        """True when the order can change no more."""
        return self.status in TERMINAL


@quickly_built
@dataclass(frozen=True, slots=True)
class FillEvent(Contract):
    """One execution. ``fee`` is in quote currency, positive when paid; ``trade_id`` names the trade that filled it."""

    order_id: str
    symbol: str
    side: Side
    qty: float
    price: float
    fee: float
    ts_fill_ns: int
    fill_id: str = ""
    intent_id: str = ""
    strategy_id: str = ""
    venue: str = ""
    liquidity: Liquidity = "taker"
    trade_id: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_named(self, "order_id", self.order_id)
        check_named(self, "symbol", self.symbol)
        check_one_of(self, "side", self.side, SIDES)
        check_positive(self, "qty", self.qty)
        check_positive(self, "price", self.price)
        check_finite(self, "fee", self.fee)
        check_one_of(self, "liquidity", self.liquidity, LIQUIDITIES)
        check_time(self, "ts_fill_ns", self.ts_fill_ns)
        check_shallow(self, "meta", self.meta)

    @property
    def ts_ns(self) -> int:
        return self.ts_fill_ns


@quickly_built
@dataclass(frozen=True, slots=True)
class PositionSnapshot(Contract):
    """A position after a fill. ``qty`` is signed (short below 0); profit and loss in quote currency.

    ``realized_pnl`` is gross of ``fees_paid``; ``unrealized_pnl`` stands at ``mark_price``.
    """

    symbol: str
    qty: float
    avg_price: float
    realized_pnl: float
    ts_ns: int
    strategy_id: str = ""
    unrealized_pnl: float = 0.0
    fees_paid: float = 0.0
    mark_price: float = 0.0

    def __post_init__(self) -> None:
        check_named(self, "symbol", self.symbol)
        check_finite(self, "qty", self.qty)
        check_not_negative(self, "avg_price", self.avg_price)
        check_finite(self, "realized_pnl", self.realized_pnl)
        check_finite(self, "unrealized_pnl", self.unrealized_pnl)
        check_finite(self, "fees_paid", self.fees_paid)
        check_not_negative(self, "mark_price", self.mark_price)
        check_time(self, "ts_ns", self.ts_ns)


@quickly_built
@dataclass(frozen=True, slots=True)
class RiskState(Contract):
    """The risk engine changed what it lets through, or a new UTC day opened on held positions.

    ``inputs`` carries the numbers behind it: restrictions in force, the day and its opening values.
    """

    state: TradingState
    reason: str
    ts_changed_ns: int
    inputs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_time(self, "ts_changed_ns", self.ts_changed_ns)
        check_shallow(self, "inputs", self.inputs)

    @property
    def ts_ns(self) -> int:
        return self.ts_changed_ns


@quickly_built
@dataclass(frozen=True, slots=True)
class KillSwitchEvent(Contract):
    """A daemon's host saw the kill switch change. Local to the daemon; never on the wire."""

    tripped: bool
    source: str
    ts_seen_ns: int

    @property
    def ts_ns(self) -> int:
        return self.ts_seen_ns


@quickly_built
@dataclass(frozen=True, slots=True)
class JournalHealth(Contract):
    """A daemon's host could not write what it has to (``ok`` false, ``detail`` says what), or can again.

    Local to the daemon; never on the wire.
    """

    ok: bool
    detail: str
    ts_seen_ns: int

    @property
    def ts_ns(self) -> int:
        return self.ts_seen_ns


def check_order_shape(contract: OrderIntent | OrderEvent | OrderUpdate) -> None:
    """The checks that intent, order and order update have in common."""
    limit = contract.limit_price
    if (
        contract.symbol
        and (contract.side == "buy" or contract.side == "sell")
        and (contract.type == "market" or (contract.type == "limit" and limit is not None))
        and 0 < contract.qty < inf
        and (limit is None or 0 < limit < inf)
    ):
        return
    check_named(contract, "symbol", contract.symbol)
    check_one_of(contract, "side", contract.side, SIDES)
    check_one_of(contract, "type", contract.type, ORDER_TYPES)
    check_positive(contract, "qty", contract.qty)
    if contract.limit_price is not None:
        check_positive(contract, "limit_price", contract.limit_price)
    elif contract.type == "limit":
        raise fail(contract, "limit_price", "a price on a limit order", None)
