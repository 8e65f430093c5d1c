"""Every message of the fleet: frozen, slotted dataclasses, validated on construction and on decoding.

Prices are in quote currency per unit of base, quantities in base currency, money (notional, fee,
profit and loss) in quote currency. Timestamps are UTC epoch nanoseconds. Every contract answers
``ts_ns``: the moment the fact is about, which is the only time that decision code ever sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from math import inf, isfinite
from operator import gt, lt
from typing import Any, ClassVar, Final, Literal, Self, get_args, get_type_hints

import msgspec

from core.errors import ContractError

Side = Literal["buy", "sell"]
OrderType = Literal["market", "limit"]
Liquidity = Literal["maker", "taker"]
OrderStatus = Literal["open", "partially_filled", "filled", "canceled", "rejected"]
FeedChannel = Literal["trades", "book"]
FeedState = Literal["connecting", "live", "stale", "reconnecting", "ended"]
Level = tuple[float, float]

SIDES: Final = ("buy", "sell")
ORDER_TYPES: Final = ("market", "limit")
TERMINAL: Final = frozenset({"filled", "canceled", "rejected"})
ORDER_STATUSES: Final[tuple[str, ...]] = get_args(OrderStatus)
LIQUIDITIES: Final[tuple[str, ...]] = get_args(Liquidity)
FEED_STATES: Final[tuple[str, ...]] = get_args(FeedState)
FEED_CHANNELS: Final[tuple[str, ...]] = get_args(FeedChannel)
LATEST_NS: Final = 2**63 - 1  # timestamps are int64 wherever they are stored
MAX_NESTING: Final = 16  # objects within objects in ``meta``, ``inputs`` and ``caps``


class DenialCode(StrEnum):
    """Why the risk engine said no. The member's value is what ``RiskDecision.code`` carries."""

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
    """What the risk engine lets through: everything, only what reduces a position, nothing."""

    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    HALTED = "HALTED"


def _fail(contract: object, name: str, expected: str, got: object) -> ContractError:
    return ContractError(f"{type(contract).__name__}.{name}: expected {expected}, got {got!r}")


def _positive(contract: object, name: str, value: float) -> None:
    if not 0 < value < inf:
        raise _fail(contract, name, "a finite number above 0", value)


def _not_negative(contract: object, name: str, value: float) -> None:
    if not 0 <= value < inf:
        raise _fail(contract, name, "a finite number of at least 0", value)


def _finite(contract: object, name: str, value: float) -> None:
    if not isfinite(value):
        raise _fail(contract, name, "a finite number", value)


def _named(contract: object, name: str, value: str) -> None:
    if not value:
        raise _fail(contract, name, "a non-empty string", value)


def _one_of(contract: object, name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise _fail(contract, name, f"one of {', '.join(allowed)}", value)


def _time(contract: object, name: str, value: int) -> None:
    if not 0 <= value <= LATEST_NS:
        raise _fail(contract, name, "a time in UTC epoch nanoseconds, 0 to 2^63-1", value)


def _ladder(contract: object, name: str, levels: tuple[Level, ...], *, descending: bool) -> None:
    """Levels of finite numbers above 0, strictly ordered from the best price outwards."""
    if not levels:
        return
    prices, quantities = zip(*levels, strict=True)
    if (
        isfinite(sum(prices) + sum(quantities))  # says no to NaN and infinity anywhere
        and min(prices[0], prices[-1]) > 0
        and min(quantities) > 0
        and all(map(gt if descending else lt, prices, prices[1:]))
    ):
        return
    for level in levels:
        if not all(0 < number < inf for number in level):
            raise _fail(contract, name, "levels of finite numbers above 0", level)
    raise _fail(contract, name, "levels ordered from the best price outwards, each once", prices)


def _shallow(contract: object, name: str, value: dict[str, Any]) -> None:
    """Refuse what a reader or writer of JSON would run out of stack on."""
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [each for outer in level for each in _inside(outer) if isinstance(each, dict | list | tuple)]
        if not level:
            return
    raise _fail(contract, name, f"values nested at most {MAX_NESTING} deep", "deeper ones")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _order_shape(contract: OrderIntent | OrderEvent | OrderUpdate) -> None:
    """What intent, order and order update have in common."""
    _named(contract, "symbol", contract.symbol)
    _one_of(contract, "side", contract.side, SIDES)
    _one_of(contract, "type", contract.type, ORDER_TYPES)
    _positive(contract, "qty", contract.qty)
    if contract.limit_price is not None:
        _positive(contract, "limit_price", contract.limit_price)
    elif contract.type == "limit":
        raise _fail(contract, "limit_price", "a price on a limit order", None)


class Contract:
    """What every message can do. Subclasses are frozen, slotted dataclasses."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def ts_ns(self) -> int:
        """The moment this fact is about, UTC epoch nanoseconds."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The message as plain JSON values, every field present, in declared order."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        """Build the message from plain values.

        Raises:
            ContractError: an unknown or missing field, a wrong type, a value outside its range.
        """
        if not isinstance(payload, Mapping):
            raise ContractError(f"{cls.__name__}: expected an object, got {type(payload).__name__}")
        refuse_unknown_fields(cls, payload)
        try:
            return msgspec.convert(payload, cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ContractError(named_after(cls, error)) from None


def named_after(contract: type[Contract], error: Exception) -> str:
    """The error's text, beginning with the contract's name as our own texts do already."""
    text = str(error)
    return text if text.startswith(f"{contract.__name__}.") else f"{contract.__name__}: {text}"


def refuse_unknown_fields(contract: type[Contract], payload: Mapping[str, Any]) -> None:
    """Raise ContractError when the payload, or a contract within it, has a key that its contract does not know."""
    known = known_fields(contract)  # type: ignore[arg-type]  # mypy takes the instances' __hash__ for the class's
    unknown = [str(key) for key in payload if key not in known]
    if unknown:
        raise ContractError(
            f"{contract.__name__}: unknown field {', '.join(sorted(unknown))}; expected {', '.join(known)}"
        )
    for name, nested in known.items():
        if nested is not None and isinstance(payload.get(name), Mapping):
            refuse_unknown_fields(nested, payload[name])


@cache
def known_fields(contract: type[Contract]) -> Mapping[str, type[Contract] | None]:
    """The names of a contract's fields in declared order, each with the contract that the field holds, if any."""
    hints = get_type_hints(contract)
    return {f.name: _contract_in(hints[f.name]) for f in fields(contract)}


def _contract_in(hint: Any) -> type[Contract] | None:
    found = (each for each in (hint, *get_args(hint)) if isinstance(each, type) and issubclass(each, Contract))
    return next(found, None)


@dataclass(frozen=True, slots=True)
class TradeEvent(Contract):
    """One trade of the venue. ``side`` is the taker's; ``ts`` the venue's trade time, ``ts_recv_ns`` ours."""

    symbol: str
    price: float
    qty: float
    side: Side
    ts: int
    trade_id: str = ""
    venue: str = ""
    ts_recv_ns: int = 0

    def __post_init__(self) -> None:
        if not (
            (0 < self.price < inf and 0 < self.qty < inf and self.symbol)
            and (0 < self.ts <= LATEST_NS and 0 <= self.ts_recv_ns <= LATEST_NS)
        ):
            _named(self, "symbol", self.symbol)
            _positive(self, "price", self.price)
            _positive(self, "qty", self.qty)
            _positive(self, "ts", self.ts)
            _time(self, "ts", self.ts)
            _time(self, "ts_recv_ns", self.ts_recv_ns)
        if self.side != "buy" and self.side != "sell":
            raise _fail(self, "side", "one of buy, sell", self.side)

    @property
    def ts_ns(self) -> int:
        return self.ts


@dataclass(frozen=True, slots=True)
class BookEvent(Contract):
    """The top of the order book, best level first, ``(price, qty)`` each; never crossed.

    ``checksum`` is the CRC-32 of the levels (see ``core.market.book.book_checksum``), ``last_id`` the
    venue's update id that the book stands at.
    """

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    checksum: int
    ts: int = 0
    last_id: int = 0
    venue: str = ""
    ts_recv_ns: int = 0

    def __post_init__(self) -> None:
        _named(self, "symbol", self.symbol)
        _time(self, "ts", self.ts)
        _time(self, "ts_recv_ns", self.ts_recv_ns)
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise _fail(self, "bids", f"a best bid below the best ask {self.asks[0][0]}", self.bids[0][0])
        _ladder(self, "bids", self.bids, descending=True)
        _ladder(self, "asks", self.asks, descending=False)

    @property
    def ts_ns(self) -> int:
        return self.ts


@dataclass(frozen=True, slots=True)
class TickerEvent(Contract):
    """Best bid and ask with the last price. ``volume`` is the rolling day's, in base currency; 0 if unknown."""

    symbol: str
    last: float
    bid: float
    ask: float
    volume: float
    ts: int = 0
    venue: str = ""
    ts_recv_ns: int = 0

    def __post_init__(self) -> None:
        _named(self, "symbol", self.symbol)
        _not_negative(self, "last", self.last)
        _positive(self, "bid", self.bid)
        _positive(self, "ask", self.ask)
        _not_negative(self, "volume", self.volume)
        _time(self, "ts", self.ts)
        _time(self, "ts_recv_ns", self.ts_recv_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts


@dataclass(frozen=True, slots=True)
class FeedGap(Contract):
    """Trades ``first_id`` to ``last_id`` (both included) of a symbol were missed and could not be fetched."""

    symbol: str
    venue: str
    first_id: int
    last_id: int
    ts_detected_ns: int
    reason: str

    def __post_init__(self) -> None:
        _named(self, "symbol", self.symbol)
        _time(self, "ts_detected_ns", self.ts_detected_ns)
        if self.last_id < self.first_id:
            raise _fail(self, "last_id", f"an id of at least {self.first_id}", self.last_id)

    @property
    def ts_ns(self) -> int:
        return self.ts_detected_ns

    @property
    def missing(self) -> int:
        """How many trades are missing."""
        return self.last_id - self.first_id + 1


@dataclass(frozen=True, slots=True)
class FeedStatus(Contract):
    """A change in the health of the market data source of one symbol: its trades, or its order book alone."""

    symbol: str
    venue: str
    state: FeedState
    ts_changed_ns: int
    detail: str = ""
    channel: FeedChannel = "trades"

    def __post_init__(self) -> None:
        _named(self, "symbol", self.symbol)
        _one_of(self, "state", self.state, FEED_STATES)
        _one_of(self, "channel", self.channel, FEED_CHANNELS)
        _time(self, "ts_changed_ns", self.ts_changed_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts_changed_ns


@dataclass(frozen=True, slots=True)
class ClockTick(Contract):
    """Time has reached ``ts``: once a second of market time, so that windows close when nothing trades."""

    ts: int

    def __post_init__(self) -> None:
        _positive(self, "ts", self.ts)
        _time(self, "ts", self.ts)

    @property
    def ts_ns(self) -> int:
        return self.ts


@dataclass(frozen=True, slots=True)
class OHLCVBar(Contract):
    """One bar over ``[ts_open, ts_close)``. ``partial``: the window was already running when data began."""

    symbol: str
    timeframe: str
    ts_open: int
    ts_close: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int = 0
    partial: bool = False

    def __post_init__(self) -> None:
        _named(self, "symbol", self.symbol)
        if self.ts_close <= self.ts_open:
            raise _fail(self, "ts_close", f"a time after ts_open {self.ts_open}", self.ts_close)
        _time(self, "ts_open", self.ts_open)
        _time(self, "ts_close", self.ts_close)
        _positive(self, "low", self.low)
        # Not by min and max, which may drop a NaN.
        if not (self.low <= self.open <= self.high < inf and self.low <= self.close <= self.high):
            raise _fail(self, "high", "low <= open, close <= high", (self.open, self.high, self.low, self.close))
        _not_negative(self, "volume", self.volume)

    @property
    def ts_ns(self) -> int:
        return self.ts_close


@dataclass(frozen=True, slots=True)
class OrderIntent(Contract):
    """A strategy's wish. ``intent_id`` and ``ts_local_ns`` are filled in by the strategy host when left out.

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
        _named(self, "strategy_id", self.strategy_id)
        _order_shape(self)
        _time(self, "ts_local_ns", self.ts_local_ns)
        _shallow(self, "meta", self.meta)

    @property
    def ts_ns(self) -> int:
        return self.ts_local_ns


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
        _named(self, "intent_id", self.intent_id)
        if not self.allowed and not self.reason:
            raise _fail(self, "reason", "a reason on a denial", self.reason)
        for name, cap in self.caps.items():
            _finite(self, f"caps[{name!r}]", cap)
        _time(self, "ts_decided_ns", self.ts_decided_ns)
        _shallow(self, "inputs", self.inputs)

    @property
    def ts_ns(self) -> int:
        return self.ts_decided_ns


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
        _named(self, "intent_id", self.intent_id)
        _order_shape(self)
        _time(self, "ts_accepted_ns", self.ts_accepted_ns)
        _shallow(self, "meta", self.meta)

    @property
    def ts_ns(self) -> int:
        return self.ts_accepted_ns


@dataclass(frozen=True, slots=True)
class OrderCancel(Contract):
    """A wish to take an order back. It needs no risk decision: it can only reduce what is open."""

    order_id: str
    symbol: str
    strategy_id: str
    ts_requested_ns: int
    reason: str = ""

    def __post_init__(self) -> None:
        _named(self, "order_id", self.order_id)
        _time(self, "ts_requested_ns", self.ts_requested_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts_requested_ns


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
        _named(self, "order_id", self.order_id)
        _order_shape(self)
        _one_of(self, "status", self.status, ORDER_STATUSES)
        _not_negative(self, "filled_qty", self.filled_qty)
        _not_negative(self, "avg_price", self.avg_price)
        _time(self, "ts_updated_ns", self.ts_updated_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts_updated_ns

    @property
    def done(self) -> bool:
        """Whether the order can change no more."""
        return self.status in TERMINAL


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
        _named(self, "order_id", self.order_id)
        _named(self, "symbol", self.symbol)
        _one_of(self, "side", self.side, SIDES)
        _positive(self, "qty", self.qty)
        _positive(self, "price", self.price)
        _finite(self, "fee", self.fee)
        _one_of(self, "liquidity", self.liquidity, LIQUIDITIES)
        _time(self, "ts_fill_ns", self.ts_fill_ns)
        _shallow(self, "meta", self.meta)

    @property
    def ts_ns(self) -> int:
        return self.ts_fill_ns


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
        _named(self, "symbol", self.symbol)
        _finite(self, "qty", self.qty)
        _not_negative(self, "avg_price", self.avg_price)
        _finite(self, "realized_pnl", self.realized_pnl)
        _finite(self, "unrealized_pnl", self.unrealized_pnl)
        _finite(self, "fees_paid", self.fees_paid)
        _not_negative(self, "mark_price", self.mark_price)
        _time(self, "ts_ns", self.ts_ns)


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
        _time(self, "ts_changed_ns", self.ts_changed_ns)
        _shallow(self, "inputs", self.inputs)

    @property
    def ts_ns(self) -> int:
        return self.ts_changed_ns


@dataclass(frozen=True, slots=True)
class KillSwitchEvent(Contract):
    """A daemon's host saw the kill switch change. Local to the daemon; never on the wire."""

    tripped: bool
    source: str
    ts_seen_ns: int

    @property
    def ts_ns(self) -> int:
        return self.ts_seen_ns
