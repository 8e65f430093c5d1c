"""The equity curve and round trips of a run, checked and ready to be measured: what every metric is taken of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Final

import numpy as np

from backtest.contracts import EquityCurve
from backtest.metrics.drawdown import drawdowns
from backtest.metrics.returns import DAY_NS, Floats, Ints, changes, daily_closes
from backtest.metrics.trades import Trades, trades_of
from core.errors import ContractError

_NS_PER_S: Final = 1e9


@dataclass(frozen=True, eq=False)
class Measured:
    """What the metrics are taken of; the parts that several of them need are made once.

    Attributes:
        ts_ns, equity: the curve, beginning with the capital at its start.
        trades: the round trips; None where they are not known.
        periods_per_year: days in a year of this market.
    """

    ts_ns: Ints
    equity: Floats
    trades: Trades | None
    periods_per_year: float

    @cached_property
    def daily_returns(self) -> Floats:
        """From UTC midnight to UTC midnight; the first and the last day may be parts of days."""
        return changes(daily_closes(self.ts_ns, self.equity)[1])

    @cached_property
    def daily(self) -> bool:
        """Whether ``returns`` are daily ones: the curve is two days long or more."""
        return len(self.ts_ns) > 1 and int(self.ts_ns[-1] - self.ts_ns[0]) >= 2 * DAY_NS

    @cached_property
    def returns(self) -> Floats:
        """Daily returns, or those of the curve's own steps where it is shorter than two days."""
        return self.daily_returns if self.daily else changes(self.equity)

    @cached_property
    def return_period_s(self) -> float:
        """Length of the period of ``returns`` in seconds: a day, or the median step of the curve."""
        if self.daily:
            return DAY_NS / _NS_PER_S
        steps = np.diff(self.ts_ns)
        return max(float(np.median(steps[steps > 0])), 1.0) / _NS_PER_S if (steps > 0).any() else 0.0

    @property
    def per_year(self) -> float:
        """How many periods of ``returns`` a year has."""
        period_ns = self.return_period_s * _NS_PER_S
        return self.periods_per_year * DAY_NS / period_ns if period_ns else 0.0

    @property
    def years(self) -> float:
        """From the first to the last point of the curve."""
        if not len(self.ts_ns):
            return 0.0
        return int(self.ts_ns[-1] - self.ts_ns[0]) / (self.periods_per_year * DAY_NS)

    @cached_property
    def depth(self) -> Floats:
        """The drawdown at every point of the curve, as a positive fraction."""
        return drawdowns(self.equity)

    @cached_property
    def pnl(self) -> Floats:
        """What the closed round trips brought; where trips are not known, every move of the curve."""
        if self.trades is not None:
            return self.trades.pnl[self.trades.closed]
        moves: Floats = np.diff(self.equity)
        changed: Floats = moves[moves != 0]
        return changed

    @cached_property
    def round_trips(self) -> Trades:
        """The round trips, none where they are not known."""
        return trades_of(()) if self.trades is None else self.trades


def columns_of(equity_curve: Sequence[tuple[int, float]]) -> tuple[Ints, Floats]:
    """Times and capital of a curve as two columns."""
    if isinstance(equity_curve, EquityCurve):
        return equity_curve.ts_ns, equity_curve.equity
    points = len(equity_curve)
    return (
        np.fromiter(map(itemgetter(0), equity_curve), np.int64, points),
        np.fromiter(map(itemgetter(1), equity_curve), np.float64, points),
    )


def measured_of(
    ts_ns: Ints,
    equity: Floats,
    trades: Trades | None = None,
    *,
    initial_capital: float | None = None,
    periods_per_year: float = 365,
) -> Measured:
    """The columns, checked and beginning with the capital at the start. Raises ContractError."""
    if not np.isfinite(equity).all():
        at = int(np.argmin(np.isfinite(equity)))
        raise ContractError(f"equity_curve[{at}]: expected a finite capital, got {equity[at]} at {ts_ns[at]}")
    if len(ts_ns) and (ts_ns[1:] < ts_ns[:-1]).any():
        at = int(np.argmax(ts_ns[1:] < ts_ns[:-1])) + 1
        raise ContractError(f"equity_curve[{at}]: expected a time at or after {ts_ns[at - 1]}, got {ts_ns[at]}")
    if initial_capital is not None and len(equity) and equity[0] != initial_capital:
        ts_ns, equity = np.insert(ts_ns, 0, ts_ns[0]), np.insert(equity, 0, initial_capital)
    return Measured(ts_ns, equity, trades, periods_per_year)
