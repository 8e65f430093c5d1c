"""All bars of a run as one stream in the order of time, whatever order they were given in.

By close time, then the longer timeframe later, then the symbol. What closes at one time is one moment: venue and risk
engine learn all of it before any strategy sees a bar of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from backtest.data.series import BarSeries, Ints
from core.contracts import OHLCVBar
from core.errors import ConfigError
from core.timeframes import timeframe_ns


class ClockStream:
    """The bars of several series.

    Attributes:
        series: those it is made of, in the order of the stream.
        events: every bar.
        times: the close times, each once, ascending.
        moments: the same as a list.
        starts: where in ``events`` each moment begins, and the end.
    """

    def __init__(self, series: Sequence[BarSeries]) -> None:
        self.series = tuple(sorted(series, key=lambda each: (timeframe_ns(each.timeframe), each.symbol)))
        kinds = [(each.symbol, each.timeframe) for each in self.series]
        if not kinds or len(set(kinds)) < len(kinds):
            raise ConfigError(f"bars: expected one or more series, each symbol and timeframe once, got {kinds}")
        if len(self.series) == 1:
            (only,) = self.series
            self.events: list[OHLCVBar] = only.events
            self.times, self.moments = only.ts_close, only.closes_at
            self.starts: Sequence[int] = range(len(only) + 1)
            self.kinds: list[int] | None = None
            return
        self._merge()

    def _merge(self) -> None:
        times: Ints = np.concatenate([each.ts_close for each in self.series])
        rank: Ints = np.repeat(np.arange(len(self.series)), [len(each) for each in self.series])
        order = np.lexsort((rank, times))
        flat = [bar for each in self.series for bar in each.events]
        self.events = [flat[at] for at in order.tolist()]
        self.kinds = rank[order].tolist()
        self.times, starts = np.unique(times[order], return_index=True)
        self.moments = self.times.tolist()
        self.starts = [*starts.tolist(), len(flat)]

    def __len__(self) -> int:
        return len(self.events)

    def kind(self, at: int) -> int:
        """Which of ``series`` an event belongs to."""
        return 0 if self.kinds is None else self.kinds[at]

    def moment_of(self, at: int) -> int:
        """Which moment an event belongs to."""
        return at if self.kinds is None else self._moment[at]

    @cached_property
    def _moment(self) -> list[int]:
        sizes = np.diff(np.asarray(self.starts))
        of: list[int] = np.repeat(np.arange(len(sizes)), sizes).tolist()
        return of
