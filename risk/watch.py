"""Wake-up bounds of the risk engine: the day and the prices within which it has nothing to say of itself.

A host that replays years of bars need not tell every price: between these bounds no price alone changes anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final

from core.contracts.fast_init import quickly_built
from risk.exposure import Exposure
from risk.restrictions import Restriction

_MARGIN: Final = 1e-6  # relative: the engine is woken a little early and decides itself, rounding decides nothing


@quickly_built
@dataclass(frozen=True, slots=True)
class WakeUpBounds:
    """Nothing happens before ``until_ns``, while each symbol's price stays above its low and below its high bound.

    ``prices`` has (symbol, low, high) in quote currency. ``until_ns`` is 0 when every price must be told.
    """

    until_ns: int
    prices: tuple[tuple[str, float, float], ...] = ()


ALWAYS: Final = WakeUpBounds(2**63 - 1)
NEVER: Final = WakeUpBounds(0)


def wake_up_bounds(exposure: Exposure) -> WakeUpBounds:
    """The bounds as of the prices told last; any mixture of prices within them is safe, in whatever order told."""
    if not exposure.rolls:
        return ALWAYS
    if Restriction.DAILY_LOSS in exposure.restrictions:
        return WakeUpBounds(exposure.day.next_day_ns)
    rates = exposure.limits.usd_rates
    exposed = []
    for market in exposure.markets.values():
        if market.traded and not market.usd_par and market.rate_market is not None:
            return NEVER  # the dollar rate moves as well
        if market.lots and market.usd_per_quote(rates):
            exposed.append(market)
    slack = (exposure.day_pnl_usd() + exposure.limits.daily_loss_usd_cap) * (1.0 - _MARGIN)
    if not exposed:
        return WakeUpBounds(exposure.day.next_day_ns)
    if slack <= 0 or any(not market.mark for market in exposed):
        return NEVER
    bounds = []
    for market in exposed:
        mark = market.mark
        away = slack / len(exposed) / (abs(market.lots) * market.lot_size * market.usd_per_quote(rates)) - mark * 1e-12
        low, high = (mark - away, inf) if market.lots > 0 else (0.0, mark + away)
        bounds.append((market.symbol, low, high))
    return WakeUpBounds(exposure.day.next_day_ns, tuple(bounds))
