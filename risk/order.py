"""The one way from an allowed intent to an order: what was asked for, and the decision that allowed it."""

from __future__ import annotations

from typing import Final

from core import ids
from core.contracts import OrderEvent, OrderIntent, RiskDecision
from core.contracts.fast_init import trusted

_order_event: Final = trusted(OrderEvent)  # out of a checked intent and our own decision


def order_of(intent: OrderIntent, decision: RiskDecision, venue: str) -> OrderEvent:
    """The order that an allowed intent becomes at a venue."""
    return _order_event(
        intent_id=intent.intent_id,
        venue=venue,
        symbol=intent.symbol,
        side=intent.side,
        type=intent.type,
        qty=intent.qty,
        ts_accepted_ns=decision.ts_decided_ns,
        limit_price=intent.limit_price,
        order_id=ids.order_id(intent.intent_id),
        strategy_id=intent.strategy_id,
        decision=decision,
        meta=dict(intent.meta),
    )
