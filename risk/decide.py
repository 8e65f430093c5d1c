"""The decision: the first policy that objects denies. Pure, so that a record can be decided again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from core import ids
from core.contracts import OrderIntent, RiskDecision
from core.contracts.fast_init import trusted
from risk import halt, price, rate, size
from risk.denial import Denial
from risk.inputs import RiskInputs
from risk.limits import RiskLimits

Policy = Callable[[OrderIntent, RiskInputs, RiskLimits], Denial | None]

POLICIES: Final[tuple[Policy, ...]] = (
    halt.halted,
    size.unknown_symbol,
    size.lot_size,
    size.tick_size,
    price.no_price,
    price.stale_price,
    price.price_collar,
    size.min_notional,
    size.per_order_cap,
    halt.daily_loss,
    halt.reducing,
    size.position_cap,
    rate.order_rate,
)
"""In order: later ones rely on what earlier ones made sure of, such as a price above 0. The rate comes last,
so that only orders that nothing else objects to are counted."""

_BY_TYPE: Final = {
    "limit": POLICIES,
    "market": tuple(
        policy for policy in POLICIES if policy not in (size.tick_size, price.price_collar)
    ),  # about limits only
}
_decision: Final = trusted(RiskDecision)


def first_denial(intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits) -> Denial | None:
    """The denial of the first policy that objects, or None."""
    for policy in _BY_TYPE[intent.type]:
        denial = policy(intent, inputs, limits)
        if denial is not None:
            return denial
    return None


def decide(
    intent: OrderIntent, inputs: RiskInputs, limits: RiskLimits, build: Callable[..., RiskDecision] = _decision
) -> RiskDecision:
    """The decision on an intent, with the caps and numbers it was taken on. Depends on its arguments alone."""
    denial = first_denial(intent, inputs, limits)
    return build(
        intent_id=intent.intent_id,
        allowed=denial is None,
        reason="" if denial is None else denial.reason,
        caps=limits.caps(),
        decision_id=ids.decision_id(intent.intent_id),
        code=None if denial is None else denial.code,
        strategy_id=intent.strategy_id,
        symbol=intent.symbol,
        ts_decided_ns=inputs.now_ns,
        inputs=inputs.to_dict(),
    )


def redecide(inputs: Mapping[str, Any], caps: Mapping[str, float], intent: OrderIntent) -> RiskDecision:
    """Take a recorded decision again: equal to the record, unless record, intent or policies have changed since.

    Raises:
        ContractError: inputs or caps have missing or unknown fields.
    """
    restated = RiskInputs.from_dict(inputs).restated(intent)
    return decide(intent, restated, RiskLimits.from_caps(caps), build=RiskDecision)  # a record is checked
