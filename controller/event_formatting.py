"""The events of a ledger as text for traders: an event on a line, and the numbers that a decision rests on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from controller.terminal import brief, iso_time
from core.contracts import (
    Contract,
    FillEvent,
    KillSwitchEvent,
    OrderCancel,
    OrderEvent,
    OrderIntent,
    OrderUpdate,
    PositionSnapshot,
    RiskDecision,
    RiskState,
)

_MOMENTS_FROM: Final = 10**17  # a count of nanoseconds from here on is a time of day, below a duration


def event_line(event: Contract) -> str:
    """The event on one line; JSON, cut short, for one that no ledger usually holds."""
    match event:
        case OrderIntent():
            return f"{event.strategy_id} wants to {_order(event)}  {event.intent_id}"
        case RiskDecision():
            verdict = "ALLOWED" if event.allowed else f"DENIED {event.reason}"
            return f"{verdict}  {event.strategy_id} {event.symbol}  {event.intent_id}"
        case OrderEvent():
            return f"{_order(event)} to {event.venue} for {event.strategy_id}  {event.order_id}"
        case OrderCancel():
            return f"{event.strategy_id} takes back its order in {event.symbol}{_why(event.reason)}  {event.order_id}"
        case OrderUpdate():
            filled = f", {number(event.filled_qty)} filled at {number(event.avg_price)}" if event.filled_qty else ""
            status = event.status.replace("_", " ")
            return f"{status}{_why(event.reason)}{filled}: {_order(event)} for {event.strategy_id}  {event.order_id}"
        case FillEvent():
            deal = f"{event.side} {number(event.qty)} {event.symbol} at {number(event.price)}"
            return f"{deal} as {event.liquidity}, fee {number(event.fee)}, for {event.strategy_id}  {event.fill_id}"
        case PositionSnapshot():
            price = f" at {number(event.avg_price)}" if event.qty else " flat"
            position = f"{number(event.qty)} {event.symbol}{price}" if event.qty else f"{event.symbol}{price}"
            gains = f"realised {number(event.realized_pnl)}, unrealised {number(event.unrealized_pnl)}"
            return f"{position}; {gains}, fees {number(event.fees_paid)}"
        case RiskState():
            return f"{event.state}{_why(event.reason)}"
        case KillSwitchEvent():
            return f"the kill switch is {'tripped' if event.tripped else 'clear'}{_why(event.source)}"
    return brief(event.to_dict())


def grounds(event: Contract) -> list[tuple[str, str]]:
    """The numbers behind a decision or change of state, as ``(title, name=value …)``; empty ones are left out."""
    if isinstance(event, RiskDecision):
        rows = [("numbers", _named(event.inputs)), ("limits", _named(event.caps))]
    elif isinstance(event, RiskState):
        rows = [("numbers", _named(event.inputs))]
    else:
        rows = []
    return [row for row in rows if row[1]]


def number(value: float) -> str:
    """A number without an exponent and without trailing zeros."""
    return f"{value:,.8f}".rstrip("0").rstrip(".") if value else "0"


def _order(order: OrderIntent | OrderEvent | OrderUpdate) -> str:
    price = "at market" if order.limit_price is None else f"at {number(order.limit_price)} or better"
    return f"{order.side} {number(order.qty)} {order.symbol} {price}"


def _why(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _named(values: Mapping[str, Any]) -> str:
    return "  ".join(f"{name}={_value(name, value)}" for name, value in values.items() if value not in ("", [], {}))


def _value(name: str, value: Any) -> str:
    if name.endswith("_ns") and isinstance(value, int) and value >= _MOMENTS_FROM:
        return iso_time(value)
    if isinstance(value, float):
        return number(value)
    return value if isinstance(value, str) else brief(value)
