"""Instruments, limits and events for the tests of the risk engine: plain defaults, every field can be said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from core import codec
from core.clock import NS_PER_DAY, NS_PER_S
from core.contracts import (
    ClockTick,
    Contract,
    FeedStatus,
    FillEvent,
    KillSwitchEvent,
    OrderEvent,
    OrderIntent,
    OrderUpdate,
    RiskDecision,
    RiskState,
    TradeEvent,
)
from core.errors import RejectedError
from core.instruments import Instrument, Instruments
from risk import RiskEngine, RiskLimits

BTC = "BTC/USDT"
ETH_BTC = "ETH/BTC"
T0 = 19_000 * NS_PER_DAY + 12 * 3600 * NS_PER_S
"""Noon of a day; its number since the epoch is 19,000."""

INSTRUMENTS = Instruments(
    [
        Instrument(BTC, Decimal("0.01"), Decimal("0.001"), Decimal(5)),
        Instrument("ATOM/USDT", Decimal("0.001"), Decimal("0.1"), Decimal(1)),
        Instrument(ETH_BTC, Decimal("0.00001"), Decimal("0.001")),
    ]
)
LIMITS = RiskLimits(
    per_order_usd_cap=1_000,
    daily_loss_usd_cap=500,
    orders_per_min_cap=60,
    position_usd_cap=2_000,
    price_collar_bps=500,
    max_price_age_ms=5_000,
)


def engine(**changes: Any) -> RiskEngine:
    """A risk engine under ``LIMITS`` with these caps changed."""
    return RiskEngine(INSTRUMENTS, replace(LIMITS, **changes))


def at(seconds: float) -> int:
    """Nanoseconds of ``T0`` plus seconds."""
    return T0 + round(seconds * NS_PER_S)


def trade(price: float = 100.0, seconds: float = 0, symbol: str = BTC) -> TradeEvent:
    return TradeEvent(symbol, price, 1.0, "buy", at(seconds))


def intent(
    side: str = "buy",
    qty: float = 1.0,
    limit: float | None = None,
    *,
    seconds: float = 0,
    symbol: str = BTC,
    name: str = "i-1",
    kind: str | None = None,
    **more: Any,
) -> OrderIntent:
    kind = kind or ("market" if limit is None else "limit")
    return OrderIntent("trend", symbol, side, kind, qty, limit, name, at(seconds), **more)  # type: ignore[arg-type]  # tests say sides as text


def fill(
    order: OrderEvent, price: float = 100.0, qty: float | None = None, seconds: float = 0, fee: float = 0.0
) -> FillEvent:
    return FillEvent(order.order_id, order.symbol, order.side, qty or order.qty, price, fee, at(seconds))


def update(order: OrderEvent, status: str, filled: float = 0.0, seconds: float = 0) -> OrderUpdate:
    return OrderUpdate(
        order.order_id, order.intent_id, order.strategy_id, order.venue, order.symbol, order.side, order.type,
        order.qty, order.limit_price, status, filled, 0.0, at(seconds),  # type: ignore[arg-type]  # tests say states as text
    )  # fmt: skip


def tick(seconds: float) -> ClockTick:
    return ClockTick(at(seconds))


def feed(state: str, seconds: float = 0, symbol: str = BTC) -> FeedStatus:
    return FeedStatus(symbol, "sim", state, at(seconds))  # type: ignore[arg-type]  # tests say states as text


def kill(tripped: bool = True, source: str = "file", seconds: float = 0) -> KillSwitchEvent:
    return KillSwitchEvent(tripped, source, at(seconds))


def decision_in(events: Iterable[Contract]) -> RiskDecision:
    """The one decision among these events."""
    (found,) = [event for event in events if isinstance(event, RiskDecision)]
    return found


def order_in(events: Iterable[Contract]) -> OrderEvent:
    """The one order among these events."""
    (found,) = [event for event in events if isinstance(event, OrderEvent)]
    return found


def states_in(events: Iterable[Contract]) -> list[RiskState]:
    return [event for event in events if isinstance(event, RiskState)]


def hold(
    risk: RiskEngine, qty: float, price: float = 100.0, symbol: str = BTC, seconds: float = 0, fee: float = 0.0
) -> list[Contract]:
    """Give the engine a position, past every policy, by a fill of an order it never saw."""
    side = "buy" if qty > 0 else "sell"
    return list(risk.on_event(FillEvent("o-given", symbol, side, abs(qty), price, fee, at(seconds))))  # type: ignore[arg-type]  # as above


class LedgerKeeper:
    """Feeds events to an engine and keeps the transactions that its host would have written."""

    durable = (OrderIntent, FillEvent, OrderUpdate, KillSwitchEvent)

    def __init__(self, risk: RiskEngine) -> None:
        self.risk = risk
        self.transactions: list[tuple[Contract | None, Sequence[Contract]]] = []
        self.answers: list[Contract] = []

    def feed(self, event: Contract) -> list[Contract]:
        try:
            answers = list(self.risk.on_event(event))
        except RejectedError:
            return []
        recorded = isinstance(event, self.durable)
        if recorded or answers:
            cause = again(event) if recorded else None
            self.transactions.append((cause, [again(answer) for answer in answers]))
        self.answers += answers
        return answers

    def recovered(self, risk: RiskEngine) -> RiskEngine:
        """The engine given, with every transaction recovered."""
        for cause, events in self.transactions:
            risk.recover(cause, events)
        return risk


def again(event: Contract) -> Contract:
    """The event as it comes back from bytes."""
    return codec.decode(type(event), codec.encode(event))
