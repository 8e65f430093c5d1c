"""Builders for tests of orders, fills and the paper venue: short to write, complete as messages."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from core import ids
from core.contracts import Contract, FillEvent, OrderEvent, OrderUpdate, RiskDecision, Side, TradeEvent
from core.instruments import Instrument, Instruments
from execution.paper_venue import PaperVenue

BTC = Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.001"), maker_fee=Decimal("0.0005"), taker_fee=Decimal("0.001"))
ETH = Instrument("ETH/USDT", Decimal("0.01"), Decimal("0.01"))
INSTRUMENTS = Instruments([BTC, ETH])


def venue(model: str = "last_trade", **options: Any) -> PaperVenue:
    """A paper venue over BTC/USDT and ETH/USDT with 10,000 USDT."""
    return PaperVenue(INSTRUMENTS, model, starting_cash={"USDT": 10_000.0}, **options)


def trade(price: float, qty: float = 1.0, side: Side = "buy", ts: int = 1, symbol: str = "BTC/USDT") -> TradeEvent:
    """A trade whose taker was on ``side``."""
    return TradeEvent(symbol, price, qty, side, ts, trade_id=f"t{ts}")


def order(
    side: Side,
    qty: float,
    limit: float | None = None,
    ts: int = 1,
    name: str = "1",
    symbol: str = "BTC/USDT",
    market_reference: float | None = None,
    meta: dict[str, Any] | None = None,
) -> OrderEvent:
    """An order that carries its allowed decision; a limit order when it has a limit."""
    intent = ids.intent_id("s", name, 0)
    decision = RiskDecision(intent, True, "", {}, ids.decision_id(intent), None, "s", symbol, ts)
    return OrderEvent(
        intent_id=intent,
        venue="paper",
        symbol=symbol,
        side=side,
        type="market" if limit is None else "limit",
        qty=qty,
        ts_accepted_ns=ts,
        limit_price=market_reference if limit is None else limit,
        order_id=ids.order_id(intent),
        strategy_id="s",
        decision=decision,
        meta=meta or {},
    )


def feed(paper: PaperVenue, *events: Contract) -> list[Contract]:
    """Everything the venue answers to the events, in order."""
    return [answer for event in events for answer in paper.on_event(event)]


def fills(answers: Iterable[Contract]) -> list[FillEvent]:
    """The fills among the answers."""
    return [event for event in answers if isinstance(event, FillEvent)]


def updates(answers: Iterable[Contract]) -> list[OrderUpdate]:
    """The order updates among the answers."""
    return [event for event in answers if isinstance(event, OrderUpdate)]


def fill(side: Side, qty: float, price: float, fee: float = 0.0, ts: int = 1, symbol: str = "BTC/USDT") -> FillEvent:
    """A fill of some order."""
    return FillEvent("o-1", symbol, side, qty, price, fee, ts)
