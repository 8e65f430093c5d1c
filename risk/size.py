"""Policies about size: the symbol and its grid, the venue's minimum, the caps per order and per position."""

from __future__ import annotations

from typing import Final

from core.contracts import DenialCode, OrderIntent
from risk.denial import Denial
from risk.inputs import RiskInputs
from risk.limits import RiskLimits

_SLACK: Final = 1e-9  # relative: what float arithmetic may add to an amount that is exactly the cap


def unknown_symbol(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny a symbol that is not configured."""
    return None if inputs.known_symbol else Denial(DenialCode.UNKNOWN_SYMBOL, {"symbol": intent.symbol})


def lot_size(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny a quantity that is no whole number of lots."""
    if inputs.order_lots > 0:
        return None
    return Denial(DenialCode.LOT_SIZE, {"qty": intent.qty, "lot_size": inputs.lot_size})


def tick_size(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny a limit price that is no whole number of ticks."""
    if intent.type != "limit" or intent.limit_price is None or inputs.limit_ticks > 0:
        return None
    return Denial(DenialCode.TICK_SIZE, {"limit_price": intent.limit_price, "tick_size": inputs.tick_size})


def min_notional(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny what the venue would refuse as too small, valued in quote currency at the limit or the last trade."""
    notional = intent.qty * (_limit(intent) or inputs.ref_price)
    if not _exceeds(inputs.min_notional, notional):
        return None
    return Denial(DenialCode.MIN_NOTIONAL, {"notional": notional, "min_notional": inputs.min_notional})


def per_order_cap(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny an order above the cap in USD, valued at the last trade or the limit, whichever is higher."""
    notional = intent.qty * max(inputs.ref_price, _limit(intent)) * inputs.usd_per_quote
    if not _exceeds(notional, limits.per_order_usd_cap):
        return None
    return Denial(DenialCode.PER_ORDER_CAP, {"notional": notional, "cap": float(limits.per_order_usd_cap)})


def position_cap(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny when the position could end beyond the cap in USD with this and every working order on its side filled.

    An order that only brings the position closer to flat is never denied, however large the position is.
    """
    if intent.side == "buy":
        worst_lots = inputs.position_lots + inputs.open_buy_lots + inputs.order_lots
    else:
        worst_lots = inputs.open_sell_lots + inputs.order_lots - inputs.position_lots
    exposure = worst_lots * inputs.lot_size * inputs.ref_price * inputs.usd_per_quote
    if worst_lots <= 0 or not _exceeds(exposure, limits.position_usd_cap):
        return None
    working = inputs.open_buy_lots if intent.side == "buy" else inputs.open_sell_lots
    numbers: dict[str, float | str] = {
        "exposure": exposure,
        "cap": float(limits.position_usd_cap),
        "position": inputs.position_lots * inputs.lot_size,
        "working": working * inputs.lot_size,
    }
    return Denial(DenialCode.POSITION_CAP, numbers)


def _limit(intent: OrderIntent) -> float:
    """The price that the order may not do worse than; a market order's limit price is a hint and binds nothing."""
    return intent.limit_price or 0.0 if intent.type == "limit" else 0.0


def _exceeds(amount: float, cap: float) -> bool:
    return amount > cap * (1 + _SLACK)
