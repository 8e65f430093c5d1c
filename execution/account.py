"""An account in one currency: starting cash and positions, valued at the last prices.

Sums are exact decimals until they are shown, so that equity moves by nothing but fills, fees and marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from core.position_ledger import Position


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """All in ``currency``. ``equity`` is cash + position value; ``realized_pnl`` is gross of ``fees_paid``."""

    currency: str
    cash: float
    position_value: float
    equity: float
    realized_pnl: float
    unrealized_pnl: float
    fees_paid: float


def summarize(
    currency: str, starting_cash: float, positions: Iterable[Position], marks: Mapping[str, float]
) -> AccountSummary:
    """The account over those positions that are quoted in ``currency``.

    A position without a mark, as after a restart before the first trade, stands at its average price.
    """
    cash = Decimal(repr(float(starting_cash)))
    value = Decimal(0)
    realized = unrealized = fees = 0.0
    for position in positions:
        if position.instrument.quote != currency:
            continue
        mark = marks.get(position.symbol, position.avg_price)
        cash += position.cash_exact
        value += position.notional_exact(mark)
        realized += position.realized_pnl
        unrealized += position.unrealized_pnl(mark)
        fees += position.fees_paid
    return AccountSummary(currency, float(cash), float(value), float(cash + value), realized, unrealized, fees)
