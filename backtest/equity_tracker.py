"""The equity of a run after every bar, exact: integers until the last division.

``EquityTracker`` follows a run bar by bar, as the specification has it; ``equity_columns`` computes the same points of
a finished run at once, from its fills alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np

from backtest.data.price_grid import PriceGrid
from backtest.data.series import Floats, Ints
from backtest.fill_simulator import Booked
from core.errors import ConfigError
from core.instruments import Instrument
from core.position_ledger import FEE_UNIT

_INT64_ROOM: Final = 2**62


class _Scale:
    """The unit of money of which every amount of the run is a multiple."""

    def __init__(self, initial_capital: float, instruments: Iterable[Instrument]) -> None:
        capital = Decimal(repr(float(initial_capital)))
        if not capital.is_finite():
            raise ConfigError(f"initial_capital: expected a finite amount, got {initial_capital}")
        units = {instrument.symbol: instrument.money_unit for instrument in instruments}
        exponents = (int(amount.as_tuple().exponent) for amount in (capital, FEE_UNIT, *units.values()))
        self.decimals = -min(0, *exponents)
        self.capital = self._units(capital)
        self.fee = self._units(FEE_UNIT)
        self.money = {symbol: self._units(unit) for symbol, unit in units.items()}
        self.divisor = float(10**self.decimals)

    def _units(self, amount: Decimal) -> int:
        return int(amount.scaleb(self.decimals))


class EquityTracker:
    """Cash, position value and equity in quote currency, updated by fills and prices in their order.

    Args:
        initial_capital: cash at the start.
        instruments: of everything that may be traded.
    """

    def __init__(self, initial_capital: float, instruments: Iterable[Instrument]) -> None:
        self.curve: list[tuple[int, float]] = []
        self._scale = _Scale(initial_capital, instruments)
        self._cash = self._scale.capital
        self._lots = dict.fromkeys(self._scale.money, 0)
        self._ticks = dict.fromkeys(self._scale.money, 0)

    @property
    def cash(self) -> float:
        """Capital that is not invested; negative after purchases beyond the capital."""
        return self._cash / self._scale.divisor

    @property
    def position_value(self) -> float:
        """All positions at their last prices; negative when short."""
        return self._value() / self._scale.divisor

    @property
    def equity(self) -> float:
        """Cash and positions."""
        return float(self._cash + self._value()) / self._scale.divisor

    def on_fill(self, symbol: str, signed_lots: int, ticks: int, fee_units: int) -> None:
        """Take a fill: lots bought (above 0) or sold (below) at a price, for a fee in ``FEE_UNIT``.

        Until the first price of the symbol, its position is valued at its first fill.
        """
        self._cash -= signed_lots * ticks * self._scale.money[symbol] + fee_units * self._scale.fee
        self._lots[symbol] += signed_lots
        self._ticks[symbol] = self._ticks[symbol] or ticks

    def on_price(self, symbol: str, ticks: int) -> None:
        """Take the last price of a symbol."""
        self._ticks[symbol] = ticks

    def on_bar(self, ts_ns: int) -> None:
        """Add the equity to the curve, once all bars that close at this time are processed."""
        self.curve.append((ts_ns, self.equity))

    def _value(self) -> int:
        money = self._scale.money
        return sum(lots * self._ticks[symbol] * money[symbol] for symbol, lots in self._lots.items())


def equity_columns(
    initial_capital: float, grids: Mapping[str, PriceGrid], moments: Sequence[int] | Ints, booked: Sequence[Booked]
) -> tuple[Ints, Floats]:
    """Times and the equity at each of them; the same floats that an ``EquityTracker`` gives.

    Args:
        initial_capital: in quote currency.
        grids: by symbol.
        moments: ascending close times.
        booked: the fills in order, each with the moment it counts in.
    """
    scale = _Scale(initial_capital, (grid.instrument for grid in grids.values()))
    times = np.asarray(moments, dtype=np.int64)
    moved = (abs(fill.lots) * fill.ticks * scale.money[fill.symbol] + abs(fill.fee) * scale.fee for fill in booked)
    largest = sum(moved, scale.capital)
    highest = max([*(int(grid.close.max()) for grid in grids.values()), *(fill.ticks for fill in booked)], default=0)
    worth = max(scale.money.values(), default=0) * highest * sum(abs(fill.lots) for fill in booked)
    dtype: Any = np.int64 if largest + worth < _INT64_ROOM else object  # Python's integers where 64 bits are too few
    total = np.full(len(times), scale.capital, dtype=dtype)
    for symbol in sorted({fill.symbol for fill in booked}):
        total += _of_symbol(grids[symbol], [fill for fill in booked if fill.symbol == symbol], times, scale, dtype)
    return times, total.astype(np.float64) / scale.divisor


def _of_symbol(grid: PriceGrid, booked: Sequence[Booked], times: Any, scale: _Scale, dtype: Any) -> Any:
    """The contribution of one symbol to the equity at every moment, in the scale's unit."""
    money = scale.money[grid.symbol]
    step_cash = np.array([-fill.lots * fill.ticks * money - fill.fee * scale.fee for fill in booked], dtype=dtype)
    step_lots = np.array([fill.lots for fill in booked], dtype=dtype)
    at = np.array([fill.moment for fill in booked], dtype=np.int64)
    counted = np.cumsum(np.bincount(at, minlength=len(times))[: len(times)])  # fills in by each moment
    cash = np.concatenate([np.zeros(1, dtype=dtype), np.cumsum(step_cash)])[counted]
    lots = np.concatenate([np.zeros(1, dtype=dtype), np.cumsum(step_lots)])[counted]
    marks = grid.close
    if not np.array_equal(grid.series.ts_close, times):
        latest = np.searchsorted(grid.series.ts_close, times, side="right") - 1
        marks = np.where(latest >= 0, grid.close[latest], booked[0].ticks)  # without a close: the first fill
    return cash + lots * marks.astype(dtype) * money
