"""Fees in exact integers: notional times the instrument's maker or taker rate.

Paper venue, event backtester and compiled backtester charge the same fee to the last unit.
"""

from __future__ import annotations

from fractions import Fraction

from core.contracts import Liquidity
from core.instruments import Instrument
from core.position_ledger import FEE_UNIT, fee_of_units


class FeeSchedule:
    """The fees of one instrument. A fee is rounded to ``FEE_UNIT`` of quote currency, halves away from zero.

    A negative rate is a rebate: the fee is negative.
    """

    def __init__(self, instrument: Instrument) -> None:
        # Fee units per unit of lots * ticks, as an exact ratio.
        per_unit = Fraction(instrument.money_unit) / Fraction(FEE_UNIT)
        self._maker = (per_unit * Fraction(instrument.maker_fee)).as_integer_ratio()
        self._taker = (per_unit * Fraction(instrument.taker_fee)).as_integer_ratio()

    @property
    def taker_ratio(self) -> tuple[int, int]:
        """The taker's fee in units per lot times tick, as an exact fraction: what compiled code computes with."""
        return self._taker

    def units(self, lots: int, ticks: int, liquidity: Liquidity) -> int:
        """The fee on ``lots`` at ``ticks`` as an integer of ``FEE_UNIT``."""
        numerator, denominator = self._maker if liquidity == "maker" else self._taker
        amount = lots * ticks * numerator
        rounded = (2 * abs(amount) + denominator) // (2 * denominator)
        return rounded if amount >= 0 else -rounded

    def fee(self, lots: int, ticks: int, liquidity: Liquidity) -> float:
        """The same in quote currency, the float nearest to the exact decimal."""
        return fee_of_units(self.units(lots, ticks, liquidity))
