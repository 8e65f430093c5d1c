"""Policies about the state of trading: the kill switch, the daily loss and every other restriction.

While trading is restricted to reducing, exits pass: see ``RiskInputs.reduces``.
"""

from __future__ import annotations

from core.contracts import DenialCode, OrderIntent, TradingState
from risk.denial import Denial
from risk.inputs import RiskInputs
from risk.limits import RiskLimits
from risk.restrictions import Restriction


def halted(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny everything while the kill switch is tripped or trading was halted by hand."""
    if inputs.state != TradingState.HALTED:
        return None
    return Denial(DenialCode.HALTED, {"kill_switch": inputs.kill_switch})


def daily_loss(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny what does not reduce once the day's loss reached the cap; it stays so until UTC midnight."""
    reached = Restriction.DAILY_LOSS in inputs.restrictions or inputs.day_pnl_usd <= -limits.daily_loss_usd_cap
    if not reached or inputs.reduces(intent.side):
        return None
    return Denial(DenialCode.DAILY_LOSS_CAP, {"day_pnl": inputs.day_pnl_usd, "cap": float(limits.daily_loss_usd_cap)})


def reducing(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """Deny what does not reduce while any other restriction asks for it."""
    if inputs.state != TradingState.REDUCING or inputs.reduces(intent.side):
        return None
    reducible = inputs.reducible_lots(intent.side) * inputs.lot_size
    return Denial(DenialCode.REDUCING, {"qty": intent.qty, "reducible": reducible})
