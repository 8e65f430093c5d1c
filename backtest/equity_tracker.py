"""Cash and position value after every bar, exact: integers until the last division.

``EquityTracker`` goes along bar by bar, as the specification has it; ``equity_columns`` computes the same points for a
whole run at once, from the fills alone.
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
    """One unit of money that every amount of the run is a whole number of."""

    def __init__(self, initial_capital: float, instruments: Iterable[Instrument]) -> None:
        capital = Decimal(repr(float(initial_capital)))
        if not capital.is_finite():
            raise ConfigError(f"initial_capital: expected a finite amount, got {initial_capital}")
        units = {instrument.symbol: instrument.money_unit for instrument in instruments}
        exponents = (int(each.as_tuple().exponent) for each in (capital, FEE_UNIT, *units.values()))
        self.decimals = -min(0, *exponents)
        self.capital = self._whole(capital)
        self.fee = self._whole(FEE_UNIT)
        self.money = {symbol: self._whole(unit) for symbol, unit in units.items()}
        self.divisor = float(10**self.decimals)

    def _whole(self, amount: Decimal) -> int:
        return int(amount.scaleb(self.decimals))


class EquityTracker:
    """Cash, position value and equity in quote currency, told of fills and prices as they come.

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
        """Capital that is not invested; negative when more was bought than there was."""
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
        """Lots were bought (above 0) or sold (below) at a price, for a fee in ``FEE_UNIT``."""
        self._cash -= signed_lots * ticks * self._scale.money[symbol] + fee_units * self._scale.fee
        self._lots[symbol] += signed_lots
        self._ticks[symbol] = self._ticks[symbol] or ticks

    def on_price(self, symbol: str, ticks: int) -> None:
        """The last price of a symbol."""
        self._ticks[symbol] = ticks

    def on_bar(self, ts_ns: int) -> None:
        """All bars that close at this time are in: note the equity."""
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
    moved = (abs(each.lots) * each.ticks * scale.money[each.symbol] + abs(each.fee) * scale.fee for each in booked)
    largest = sum(moved, scale.capital)
    highest = max((int(grid.close.max()) for grid in grids.values()), default=0)
    held = max(scale.money.values(), default=0) * highest * sum(abs(each.lots) for each in booked)
    kind: Any = np.int64 if largest + held < _INT64_ROOM else object  # Python's integers where 64 bits are too few
    total = np.full(len(times), scale.capital, dtype=kind)
    for symbol in sorted({each.symbol for each in booked}):
        total += _of_symbol(grids[symbol], [each for each in booked if each.symbol == symbol], times, scale, kind)
    return times, total.astype(np.float64) / scale.divisor


def _of_symbol(grid: PriceGrid, booked: Sequence[Booked], times: Any, scale: _Scale, kind: Any) -> Any:
    """What one symbol adds to the equity at every moment, in the scale's unit."""
    money = scale.money[grid.symbol]
    step_cash = np.array([-each.lots * each.ticks * money - each.fee * scale.fee for each in booked], dtype=kind)
    step_lots = np.array([each.lots for each in booked], dtype=np.int64)
    at = np.array([each.moment for each in booked], dtype=np.int64)
    counted = np.cumsum(np.bincount(at, minlength=len(times))[: len(times)])  # fills in by each moment
    cash = np.concatenate([np.zeros(1, dtype=kind), np.cumsum(step_cash)])[counted]
    lots = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(step_lots)])[counted]
    close = grid.close
    if not np.array_equal(grid.series.ts_close, times):
        close = close[np.maximum(np.searchsorted(grid.series.ts_close, times, side="right") - 1, 0)]
    return cash + lots.astype(kind) * close.astype(kind) * money
