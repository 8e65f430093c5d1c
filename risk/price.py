"""Policies about the price that an order is judged by: there is one, it is fresh, the limit lies near it.

An exit needs no fresh price: on a quiet market, and while the feed is down, holding on is the larger risk.
"""

from __future__ import annotations

from typing import Final

from core.contracts import DenialCode, OrderIntent
from risk.denial import Denial
from risk.inputs import FEED_OK, RiskInputs
from risk.limits import RiskLimits

_BPS: Final = 10_000
_BPS_SLACK: Final = 1e-6  # what float arithmetic may add to a distance that is exactly the collar


def no_price(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny what cannot be valued: no trade seen and no limit price, or no dollar rate of the quote currency."""
    if inputs.ref_price > 0 and inputs.usd_per_quote > 0:
        return None
    return Denial(DenialCode.NO_PRICE, {"ref_price": inputs.ref_price, "usd_per_quote": inputs.usd_per_quote})


def stale_price(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny when the last trade is too old, or the feed has reported itself unwell since; exits pass."""
    if inputs.feed == FEED_OK and inputs.price_age_ms <= limits.max_price_age_ms:
        return None
    if inputs.reduces(intent.side):
        return None
    numbers: dict[str, float | str] = {
        "age_ms": inputs.price_age_ms,
        "max_age_ms": float(limits.max_price_age_ms),
        "feed": inputs.feed,
    }
    return Denial(DenialCode.STALE_PRICE, numbers)


def price_collar(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny a limit price that gives away more than the collar: a buy far above, a sell far below the last trade."""
    if intent.type != "limit" or intent.limit_price is None:
        return None
    beyond = intent.limit_price - inputs.ref_price if intent.side == "buy" else inputs.ref_price - intent.limit_price
    distance_bps = beyond / inputs.ref_price * _BPS
    if distance_bps <= limits.price_collar_bps + _BPS_SLACK:
        return None
    numbers: dict[str, float | str] = {
        "limit_price": intent.limit_price,
        "ref_price": inputs.ref_price,
        "distance_bps": distance_bps,
        "collar_bps": float(limits.price_collar_bps),
    }
    return Denial(DenialCode.PRICE_COLLAR, numbers)
