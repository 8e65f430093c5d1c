"""Risk first: no venue, simulated or live, takes an order without the decision that allowed it.

Every broker calls ``refusal`` before anything else; there is no way around it.
"""

from __future__ import annotations

from typing import Final

from core import ids
from core.contracts import OrderEvent

NO_RISK_DECISION: Final = "NO_RISK_DECISION"


def refusal(order: OrderEvent) -> str | None:
    """The reason for which a venue must refuse the order, or None when it comes with the decision that allowed it."""
    decision = order.decision
    if decision is None:
        return f"{NO_RISK_DECISION}: expected the decision that allowed {order.intent_id}, got none"
    if not decision.allowed:
        return f"{NO_RISK_DECISION}: expected an allowed decision, got a denial ({decision.reason})"
    intent, symbol, strategy = order.intent_id, order.symbol, order.strategy_id
    if (
        decision.intent_id == intent
        and decision.decision_id == ids.decision_id(intent)
        and order.order_id == ids.order_id(intent)
        and (decision.symbol == symbol or not decision.symbol)
        and (decision.strategy_id == strategy or not decision.strategy_id)
    ):
        return None
    expected = (
        ("decision.intent_id", decision.intent_id, order.intent_id),
        ("decision.decision_id", decision.decision_id, ids.decision_id(order.intent_id)),
        ("order_id", order.order_id, ids.order_id(order.intent_id)),
        ("decision.symbol", decision.symbol or order.symbol, order.symbol),
        ("decision.strategy_id", decision.strategy_id or order.strategy_id, order.strategy_id),
    )
    for name, got, required in expected:
        if got != required:
            return f"{NO_RISK_DECISION}: expected {name} {required!r}, got {got!r}"
    return None
