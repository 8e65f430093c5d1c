"""Bars as columns: what a backtest reads, from journals, CSV, Feather or Parquet, checked once and then trusted.

A series is one symbol in one timeframe, in order, without repeats. Times are UTC epoch nanoseconds, prices in quote
currency, volume in base currency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from backtest.data.gc_pause import seldom_collecting
from core.clock import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from core.contracts import OHLCVBar
from core.contracts.fast_init import trusted
from core.errors import ConfigError
from core.timeframes import timeframe_ns

if TYPE_CHECKING:
    import pandas as pd

    from backtest.data.bar_table import StampGuess

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_PRICES: Final = ("open", "high", "low", "close")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_INSTANTS_NS: Final = (NS_PER_S, NS_PER_MS, 1_000, 1)  # before the end of a bar, as venues round them
_MANY_STEPS: Final = 5  # so many steps that are all longer are not all gaps


@dataclass(frozen=True, eq=False)
class BarSeries:
    """The columns, each of shape ``(bars,)``. Raises ConfigError for anything a bar cannot be, naming the first.

    ``stamp_guess`` tells when it was custom alone that decided which end of the bars a table's times are.
    """

    symbol: str
    timeframe: str
    ts_open: Ints
    ts_close: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    stamp_guess: StampGuess | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not len(self):
            raise ConfigError(f"{self.symbol} {self.timeframe}: expected at least one bar, got none")
        prices = np.stack([self.open, self.high, self.low, self.close])
        no_prices = ~np.isfinite(prices).all(axis=0) | (prices <= 0).any(axis=0)
        for bad, expected in (
            (no_prices, "four prices above 0"),
            (self.low > np.minimum(self.open, self.close), "low <= open and close"),
            (self.high < np.maximum(self.open, self.close), "high >= open and close"),
            (~((self.volume >= 0) & np.isfinite(self.volume)), "volume >= 0"),
            (self.ts_close <= self.ts_open, "its end after its start"),
            (np.append(False, self.ts_open[1:] < self.ts_close[:-1]), "bars in order of time, each once"),
        ):
            if bad.any():
                raise ConfigError(f"{self.symbol} {self.timeframe}, {self._description(int(np.argmax(bad)), expected)}")

    def _description(self, at: int, expected: str) -> str:
        """A bar that is none, as it is and as it should be."""
        values = ", ".join(f"{name} {getattr(self, name)[at].item()!r}" for name in (*_PRICES, "volume"))
        span = f"{_utc(self.ts_open[at].item())} to {_utc(self.ts_close[at].item())}"
        previous = (
            f"; the bar before it ends {_utc(self.ts_close[at - 1].item())}" if at and "order" in expected else ""
        )
        return f"bar {at} (the first one is 0): expected {expected}, got {span}, {values}{previous}"

    def __len__(self) -> int:
        return len(self.ts_close)

    @cached_property
    def events(self) -> list[OHLCVBar]:
        """The bars as events, made once."""
        columns = (self.ts_open, self.ts_close, self.open, self.high, self.low, self.close, self.volume)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        # A bar checks what the series has, and this.
        fine = self.symbol and self.ts_open[0] >= 0
        make, symbol, timeframe = trusted(OHLCVBar) if fine else OHLCVBar, self.symbol, self.timeframe
        with seldom_collecting():
            return [make(symbol, timeframe, o, c, at, high, low, to, v) for o, c, at, high, low, to, v in rows]

    @cached_property
    def closes_at(self) -> list[int]:
        """``ts_close`` as a list, made once."""
        times: list[int] = self.ts_close.tolist()
        return times

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over symbol, timeframe and every column."""
        digest = hashlib.sha256(f"{self.symbol}|{self.timeframe}".encode())
        for name in ("ts_open", "ts_close", *_PRICES, "volume"):
            digest.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        return digest.hexdigest()

    @cached_property
    def kept(self) -> dict[Any, Any]:
        """What was made of the columns and serves the next run too, by what it is: see ``PriceGrid.of``."""
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """The columns alone: what was made of them is made again where they go."""
        return {column.name: getattr(self, column.name) for column in fields(self)}

    @property
    def gaps(self) -> int:
        """How many bars do not begin where the one before ended."""
        return int((self.ts_open[1:] != self.ts_close[:-1]).sum())

    def between(self, start_ts: int, end_ts: int) -> BarSeries:
        """The bars that open in ``[start_ts, end_ts)``; 0 stands for no end. Raises ConfigError when there are none."""
        first = int(np.searchsorted(self.ts_open, start_ts))
        last = int(np.searchsorted(self.ts_open, end_ts)) if end_ts else len(self)
        if first >= last:
            raise ConfigError(
                f"{self.symbol} {self.timeframe}: expected bars from {_utc(start_ts)} to "
                f"{_utc(end_ts) if end_ts else 'the end'}, got bars from {_utc(int(self.ts_open[0]))} to "
                f"{_utc(int(self.ts_close[-1]))} only"
            )
        return self.rows(first, last)

    def rows(self, first: int, last: int) -> BarSeries:
        """The bars ``first`` to before ``last``. Raises ConfigError when there are none."""
        columns = (getattr(self, name)[first:last] for name in ("ts_open", "ts_close", *_PRICES, "volume"))
        return BarSeries(self.symbol, self.timeframe, *columns, stamp_guess=self.stamp_guess)


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
    from core.journal import FOREVER, JournalReader

    bars = list(JournalReader(folder).read_bars(symbol, timeframe, start_ts, end_ts or FOREVER))
    if not bars:
        raise ConfigError(f"no {timeframe} bars of {symbol} in {folder} in that time; expected ohlcv.{timeframe}.*")
    return from_bars(bars)


def from_frame(frame: pd.DataFrame, symbol: str, timeframe: str, *, stamp: str = "auto") -> BarSeries:
    """Columns open, high, low, close, volume and one of times (``timestamp``, ``date``, …) into a series.

    Args:
        frame: in order of time, or newest first. Times without a zone are UTC; see ``bar_table.nanoseconds``.
        symbol: whose bars these are.
        timeframe: how long each of them is.
        stamp: whether the time column is the bar's ``open`` or its ``close``. ``auto`` goes by its name: ``ts_open``
            and ``open_time`` say it, ``date`` is taken for the open, all others for the close.

    Raises:
        ConfigError: a column is missing, the bars are no bars, or bars of another length.
    """
    from backtest.data.bar_table import columns_of

    if stamp not in ("auto", "open", "close"):
        raise ConfigError(f"stamp: expected auto, open or close, got {stamp!r}")
    times, end, guess, values = columns_of(frame, symbol, stamp)
    length = timeframe_ns(timeframe)
    _check_spacing(times, length, symbol, timeframe)
    ts_open = times if end == "open" else _closes_on_the_boundary(times) - length
    return BarSeries(symbol, timeframe, ts_open, ts_open + length, *values, stamp_guess=guess)


def from_file(path: Path, symbol: str, timeframe: str, *, stamp: str = "auto") -> BarSeries:
    """A CSV (also .gz), tab-separated, Feather or Parquet file; see ``from_frame``. Raises ConfigError."""
    from backtest.data.table_file import read_table

    return from_frame(read_table(path), symbol, timeframe, stamp=stamp)


def _closes_on_the_boundary(closes: Ints) -> Ints:
    """Closing times with the last instant of each bar (``00:00:59.999``, as Binance writes it) moved to its end."""
    for step in _LAST_INSTANTS_NS:
        if len(closes) and not ((closes + step) % NS_PER_MINUTE).any():
            return closes + step
    return closes


def _check_spacing(times: Ints, length: int, symbol: str, timeframe: str) -> None:
    """Times mostly closer than ``length``, or always a longer step apart, are of bars of another timeframe."""
    steps = np.diff(times)
    if not len(steps) or (steps <= 0).any():
        return  # what is out of order, the series names itself
    usual, common = int(np.median(steps)), int(np.gcd.reduce(steps))
    if usual < length or (common > length and len(steps) >= _MANY_STEPS):
        apart = max(common, usual) / NS_PER_S
        raise ConfigError(
            f"{symbol}: expected bars of {timeframe}, got bars that are {apart:,g} s apart; it is another "
            "timeframe, or another file"
        )


def _utc(ts_ns: int) -> str:
    return (_EPOCH + timedelta(microseconds=ts_ns // 1_000)).strftime("%Y-%m-%d %H:%M:%S")
