"""The case that lint rules look at: a result with its bars and search, and what several rules need made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from backtest.contracts import BacktestConfig, BacktestResult, RoundTrip
from backtest.data.series import BarSeries
from backtest.metrics import Measured, columns_of, measured_of
from backtest.metrics.formatting import money, quote_of
from backtest.metrics.returns import Floats, Ints, daily_closes
from core.exact import ordered_sum

if TYPE_CHECKING:
    import pandas as pd

Rerun = Callable[[BacktestConfig], BacktestResult]


@dataclass(frozen=True, eq=False)
class Case:
    """A result and what is known besides it; whatever is missing silences the rules that need it.

    Attributes:
        result: the run.
        series: the bars it ran on.
        sweep: the table of the search that the run's parameters came from: columns for parameters and metrics.
        trials: how many variants were tried in all.
        rerun: runs the same strategy on the same data with another configuration.
        warm_up: bars that the strategy needs before its first opinion.
    """

    result: BacktestResult
    series: tuple[BarSeries, ...] = ()
    sweep: pd.DataFrame | None = None
    trials: int | None = None
    rerun: Rerun | None = None
    warm_up: int | None = None

    @cached_property
    def net(self) -> float:
        """Profit or loss after all costs, open positions included."""
        return self.result.final_capital - self.result.initial_capital

    @cached_property
    def closed(self) -> tuple[RoundTrip, ...]:
        """The round trips that ended."""
        return tuple(trip for trip in self.result.round_trips if not trip.is_open)

    @cached_property
    def pnl(self) -> Floats:
        """What each of them brought."""
        return np.array([trip.pnl for trip in self.closed])

    @cached_property
    def measured(self) -> Measured:
        """The equity curve, beginning with the capital at the start."""
        return measured_of(*columns_of(self.result.equity_curve), initial_capital=self.result.initial_capital)

    @cached_property
    def days(self) -> Ints:
        """UTC days since the epoch, one for each of ``day_pnl``."""
        return daily_closes(self.measured.ts_ns, self.measured.equity)[0][1:]

    @cached_property
    def day_pnl(self) -> Floats:
        """Profit or loss of each day, open positions at the day's last price."""
        return np.diff(daily_closes(self.measured.ts_ns, self.measured.equity)[1])

    @cached_property
    def turnover(self) -> float:
        """Bought and sold, in quote currency."""
        fills = self.result.fills
        if fills:
            return ordered_sum(fill["qty"] * fill["price"] for fill in fills)
        trips = self.result.round_trips
        return ordered_sum(t.qty * (t.price_open + (0.0 if t.is_open else t.price_close)) for t in trips)

    @cached_property
    def main(self) -> BarSeries | None:
        """The shortest series of the result's symbol."""
        own = [bars for bars in self.series if bars.symbol == self.result.symbol]
        return max(own, key=len, default=None)

    @cached_property
    def market_days(self) -> Floats:
        """What the market returned on each of ``days``, as fractions; none without a series."""
        if self.main is None:
            return np.empty(0)
        ends, closes = daily_closes(self.main.ts_close, self.main.close)
        if not len(self.days) or ends[0] >= self.days[-1]:
            return np.empty(0)
        at = np.searchsorted(ends, np.append(self.days[0] - 1, self.days), side="right") - 1
        values = closes[np.maximum(at, 0)]
        returns: Floats = values[1:] / values[:-1] - 1.0
        return returns

    def money(self, amount: float, *, signed: bool = False) -> str:
        """An amount in the quote currency, as it is printed everywhere."""
        return money(amount, quote_of(self.result.symbol), signed=signed)
