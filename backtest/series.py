"""Bars as columns: what a backtest reads, from journals, CSV, Feather or Parquet, checked once and then trusted.

A series is one symbol in one timeframe, in order, without repeats. Times are UTC epoch nanoseconds, prices in quote
currency, volume in base currency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from backtest.collection import seldom_collecting
from core.bars import timeframe_ns
from core.contracts import OHLCVBar
from core.errors import ConfigError
from core.quick_build import trusted

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_TIMES: Final = ("timestamp", "date", "datetime", "time", "ts_close", "ts_open")
_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True, eq=False)
class BarSeries:
    """The columns, each of shape ``(bars,)``. Raises ConfigError for anything a bar cannot be, naming the first."""

    symbol: str
    timeframe: str
    ts_open: Ints
    ts_close: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __post_init__(self) -> None:
        if not len(self):
            raise ConfigError(f"{self.symbol} {self.timeframe}: expected at least one bar, got none")
        prices = np.stack([self.open, self.high, self.low, self.close])
        bad = (
            ~np.isfinite(prices).all(axis=0)
            | (prices <= 0).any(axis=0)
            | (self.low > np.minimum(self.open, self.close))
            | (self.high < np.maximum(self.open, self.close))
            | ~(self.volume >= 0)
            | (self.ts_close <= self.ts_open)
        )
        bad[1:] |= self.ts_open[1:] < self.ts_close[:-1]
        if bad.any():
            at = int(np.argmax(bad))
            row = {name: getattr(self, name)[at].item() for name in ("ts_open", "ts_close", *_PRICES, "volume")}
            raise ConfigError(
                f"{self.symbol} {self.timeframe}, bar {at}: expected 0 < low <= open, close <= high, volume >= 0 and a "
                f"start at or after the end of the bar before, got {row}"
            )

    def __len__(self) -> int:
        return len(self.ts_close)

    @cached_property
    def events(self) -> list[OHLCVBar]:
        """The bars as events, made once."""
        columns = (self.ts_open, self.ts_close, self.open, self.high, self.low, self.close, self.volume)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        # A bar checks what the series has, and this.
        fine = self.symbol and self.ts_open[0] >= 0 and np.isfinite(self.volume).all()
        make, symbol, timeframe = trusted(OHLCVBar) if fine else OHLCVBar, self.symbol, self.timeframe
        with seldom_collecting():
            return [make(symbol, timeframe, o, c, at, high, low, to, v) for o, c, at, high, low, to, v in rows]

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over symbol, timeframe and every column."""
        whole = hashlib.sha256(f"{self.symbol}|{self.timeframe}".encode())
        for name in ("ts_open", "ts_close", *_PRICES, "volume"):
            whole.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return whole.hexdigest()

    @property
    def gaps(self) -> int:
        """How many bars do not begin where the one before ended."""
        return int((self.ts_open[1:] != self.ts_close[:-1]).sum())

    def between(self, start_ts: int, end_ts: int) -> BarSeries:
        """The bars that open in ``[start_ts, end_ts)``; 0 stands for no end. Raises ConfigError when there are none."""
        first = int(np.searchsorted(self.ts_open, start_ts))
        last = int(np.searchsorted(self.ts_open, end_ts)) if end_ts else len(self)
        return self.rows(first, last)

    def rows(self, first: int, last: int) -> BarSeries:
        """The bars ``first`` to before ``last``. Raises ConfigError when there are none."""
        columns = (getattr(self, name)[first:last] for name in ("ts_open", "ts_close", *_PRICES, "volume"))
        return BarSeries(self.symbol, self.timeframe, *columns)


def from_bars(bars: Iterable[OHLCVBar]) -> BarSeries:
    """A series out of bar events of one symbol and timeframe. Raises ConfigError."""
    rows = list(bars)
    if not rows:
        raise ConfigError("bars: expected at least one, got none")
    kinds = sorted({(bar.symbol, bar.timeframe) for bar in rows})
    if len(kinds) > 1:
        raise ConfigError(f"bars: expected one symbol and timeframe, got {kinds}")
    ts_open, ts_close = (np.array([getattr(bar, at) for bar in rows], dtype=np.int64) for at in ("ts_open", "ts_close"))
    prices = (np.array([getattr(bar, name) for bar in rows], dtype=np.float64) for name in (*_PRICES, "volume"))
    return BarSeries(*kinds[0], ts_open, ts_close, *prices)


def from_journals(folder: Path, symbol: str, timeframe: str, start_ts: int = 0, end_ts: int = 0) -> BarSeries:
    """The journaled bars that open in ``[start_ts, end_ts)``; 0 stands for no end.

    Raises:
        ConfigError: no folder, no such timeframe, no bars.
        CodecError: a malformed line.
    """
    from core.journal_reader import FOREVER, JournalReader

    bars = list(JournalReader(folder).read_bars(symbol, timeframe, start_ts, end_ts or FOREVER))
    if not bars:
        raise ConfigError(f"no {timeframe} bars of {symbol} in {folder} in that time; expected ohlcv.{timeframe}.*")
    return from_bars(bars)


def from_frame(frame: pd.DataFrame, symbol: str, timeframe: str, *, stamp: str = "auto") -> BarSeries:
    """Columns open, high, low, close, volume and one of times (``timestamp``, ``date``, …) into a series.

    Args:
        stamp: whether the time column is the bar's ``open`` or its ``close``; ``auto`` is the close, except for a
            column called ``date`` or ``ts_open``.

    Raises:
        ConfigError: a column is missing, or the bars are no bars.
    """
    import pandas as pd

    named = {str(name).lower(): name for name in frame.columns}
    column = next((name for name in _TIMES if name in named), None)
    missing = [name for name in (*_PRICES, "volume") if name not in named]
    if column is None or missing:
        raise ConfigError(
            f"{symbol}: expected the columns {', '.join((*_PRICES, 'volume'))} and one of {', '.join(_TIMES)}, got "
            f"{', '.join(map(str, frame.columns))}"
        )
    times: Any = frame[named[column]]
    if not pd.api.types.is_numeric_dtype(times):
        times = pd.to_datetime(times, utc=True).astype("datetime64[ns, UTC]").astype("int64")
    at = times.to_numpy(dtype=np.int64)
    length = timeframe_ns(timeframe)
    opens = stamp == "open" or (stamp == "auto" and column in ("date", "ts_open"))
    ts_open = at if opens else at - length
    values = (frame[named[name]].to_numpy(dtype=np.float64) for name in (*_PRICES, "volume"))
    return BarSeries(symbol, timeframe, ts_open, ts_open + length, *values)


def from_file(path: Path, symbol: str, timeframe: str, *, stamp: str = "auto") -> BarSeries:
    """A CSV (also .gz), Feather or Parquet file; see ``from_frame``. Raises ConfigError."""
    import pandas as pd

    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".feather": pd.read_feather,
        ".parquet": pd.read_parquet,
    }
    kind = next((suffix for suffix in path.suffixes if suffix in readers), None)
    if kind is None or not path.is_file():
        raise ConfigError(f"{path}: expected a file of {', '.join(readers)}")
    return from_frame(readers[kind](path), symbol, timeframe, stamp=stamp)
