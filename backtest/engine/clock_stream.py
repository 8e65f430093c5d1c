"""The clock stream: all bars of a run as one sequence in the order of time, independent of the order of the input.

The order is by close time, then the longer timeframe later, then the symbol. The bars that close at one time are one
moment: venue and risk engine learn all of it before any strategy sees a bar of it.
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
        series: the input, in the order of the stream.
        events: every bar.
        times: the close times, each once, ascending.
        moments: the same as a list.
        starts: the position in ``events`` at which each moment begins, and the end.

    Raises:
        ConfigError: no series, or two of the same symbol and timeframe.
    """

    def __init__(self, series: Sequence[BarSeries]) -> None:
        self.series = tuple(sorted(series, key=lambda bars: (timeframe_ns(bars.timeframe), bars.symbol)))
        keys = [(bars.symbol, bars.timeframe) for bars in self.series]
        if not keys or len(set(keys)) < len(keys):
            raise ConfigError(f"bars: expected one or more series, each symbol and timeframe once, got {keys}")
        if len(self.series) == 1:
            (only,) = self.series
            self.events: list[OHLCVBar] = only.events
            self.times, self.moments = only.ts_close, only.closes_at
            self.starts: Sequence[int] = range(len(only) + 1)
            self._series_of: list[int] | None = None
            return
        self._merge()

    def _merge(self) -> None:
        times: Ints = np.concatenate([bars.ts_close for bars in self.series])
        rank: Ints = np.repeat(np.arange(len(self.series)), [len(bars) for bars in self.series])
        order = np.lexsort((rank, times))
        unordered = [bar for bars in self.series for bar in bars.events]
        self.events = [unordered[at] for at in order.tolist()]
        self._series_of = rank[order].tolist()
        self.times, starts = np.unique(times[order], return_index=True)
        self.moments = self.times.tolist()
        self.starts = [*starts.tolist(), len(unordered)]

    def __len__(self) -> int:
        return len(self.events)

    def series_of(self, position: int) -> int:
        """The index in ``series`` of the event at a position."""
        return 0 if self._series_of is None else self._series_of[position]

    def moment_of(self, position: int) -> int:
        """The index of the moment of the event at a position."""
        return position if self._series_of is None else self._moment_of[position]

    @cached_property
    def _moment_of(self) -> list[int]:
        sizes = np.diff(np.asarray(self.starts))
        moments: list[int] = np.repeat(np.arange(len(sizes)), sizes).tolist()
        return moments
