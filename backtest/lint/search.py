"""The search that lint rules look at: every set that was tried, the choice among them, the returns of the market."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backtest.data.series import BarSeries
from backtest.metrics.returns import Floats, Ints, changes
from backtest.sweep.setup import period_ends
from core.timeframes import TIMEFRAMES

if TYPE_CHECKING:
    import pandas as pd

_BLOCKS: Final = ("auto", *TIMEFRAMES, "4h", "1d")
_FEWEST: Final = 10
"""Returns that it takes to say anything about luck."""


@dataclass(frozen=True, eq=False)
class Search:
    """A search for parameters; whatever is missing silences the rules that need it.

    Attributes:
        table: a row per set that was tried; columns for parameters and metrics.
        names: the parameters that vary in it.
        row: of the table, the set that was chosen; None when it is not among them.
        trials: how many sets were ever tried on this data, earlier searches included.
        returns: of every set that came out, shape ``(periods, sets)``, fractions; None where they were not kept.
        market: what holding returned in these periods, shape ``(periods,)``.
        strategy_id, symbol: what was tried, and what it traded.
        pbo: the probability of backtest overfitting, where the search has worked it out.
        loss: and how often what one half of the time chooses loses in the other half.
    """

    table: pd.DataFrame
    names: Sequence[str]
    row: int | None = 0
    trials: int = 0
    returns: Floats | None = None
    market: Floats | None = None
    strategy_id: str = ""
    symbol: str = ""
    pbo: float | None = None
    loss: float | None = None

    @classmethod
    def of_table(cls, table: pd.DataFrame, names: Sequence[str]) -> Search:
        """Of a bare table, about which nothing else is known."""
        return cls(table, _varied(table, names), None, len(table))

    def choosing(self, strategy_id: str, params: Mapping[str, Any]) -> Search:
        """The same search, of which the set with these parameters was chosen."""
        other = self.strategy_id not in ("", strategy_id)
        if other or not self.names or not set(self.names) <= params.keys():
            return replace(self, row=None)
        own: Any = np.logical_and.reduce([(self.table[name] == params[name]).to_numpy() for name in self.names])
        return replace(self, row=int(own.argmax()) if own.any() else None)

    @property
    def sets(self) -> int:
        """How many were tried here."""
        return len(self.table)

    @cached_property
    def judged(self) -> Floats | None:
        """The returns, where there are enough of them to say anything: two sets, ten periods."""
        kept = self.returns
        return None if kept is None or kept.shape[1] < 2 or len(kept) < _FEWEST else kept


def market_returns(series: Sequence[BarSeries], ends: Ints) -> Floats | None:
    """What holding returned in each of the periods that a sweep kept returns for.

    Args:
        ends: of the periods, UTC epoch ns; each begins where the one before ends, the first one with the bars.

    Returns:
        Of shape ``(periods,)``; None where these bars cannot tell: none, of several symbols, or of another time.
    """
    if not series or len({bars.symbol for bars in series}) > 1:
        return None
    finest = max(series, key=len)
    if not _cover(finest.ts_close, ends):
        return None
    at = np.searchsorted(finest.ts_close, ends, side="right") - 1
    return changes(np.insert(finest.close[at], 0, finest.open[0]))


def ends_told_by(series: Sequence[BarSeries], periods: int) -> Ints | None:
    """Where periods end, by how many there are: a sweep's file of an earlier version says no more than that."""
    candidates = (period_ends(series, block) for block in _BLOCKS if series)
    return next((ends for ends in candidates if len(ends) == periods), None)


def _cover(ts_close: Ints, ends: Ints) -> bool:
    """Whether bars begin in the first of these periods and end in the last one or later."""
    longest = np.diff(ends).max() if len(ends) > 1 else np.inf
    return bool(len(ends) and 0 <= ends[0] - ts_close[0] <= longest and ts_close[-1] > (*ends[-2:-1], 0)[0])


def _varied(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in table and table[name].nunique() > 1]
