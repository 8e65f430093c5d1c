"""Recorded trades of one symbol as a backtest reads them, and the bars that follow from them or from shorter bars."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from backtest.data.series import BarSeries, from_bars
from core import codec
from core.clock import NS_PER_MINUTE
from core.contracts import ClockTick, OHLCVBar, TradeEvent
from core.errors import ConfigError
from core.market.bars import BarAggregator
from core.timeframes import timeframe_ns

_MINUTE = "1m"


@dataclass(frozen=True, eq=False)
class TradeTape:
    """Trades in order of time. Raises ConfigError for none, for two symbols, and for one older than the one before."""

    trades: tuple[TradeEvent, ...]

    def __post_init__(self) -> None:
        symbols = sorted({trade.symbol for trade in self.trades})
        if len(symbols) != 1:
            raise ConfigError(f"trades: expected some of one symbol, got {', '.join(symbols) or 'none'}")
        for earlier, later in pairwise(self.trades):
            if later.ts < earlier.ts:
                raise ConfigError(
                    f"trades of {symbols[0]}: expected them in order of time, got {later} after {earlier}"
                )

    @property
    def symbol(self) -> str:
        """The symbol that was traded."""
        return self.trades[0].symbol

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over the trades as they go over the wire."""
        digest = hashlib.sha256()
        for trade in self.trades:
            digest.update(codec.encode(trade))
            digest.update(b"\n")
        return digest.hexdigest()

    def between(self, start_ts: int, end_ts: int) -> TradeTape:
        """The trades in ``[start_ts, end_ts)``; 0 stands for no end. Raises ConfigError when there are none."""
        return TradeTape(tuple(t for t in self.trades if start_ts <= t.ts and (not end_ts or t.ts < end_ts)))

    def bars(self, timeframes: Sequence[str]) -> list[BarSeries]:
        """The bars of these trades, as the aggregator daemon publishes them; minutes always among them.

        The minute of the last trade is closed like any other; a longer bar that it does not complete is left out.
        """
        aggregator = BarAggregator(_with_minutes(timeframes), grace_ms=0)
        closed: list[OHLCVBar] = [bar for trade in self.trades for bar in aggregator.on_event(trade)]
        last = self.trades[-1].ts
        closed += aggregator.on_event(ClockTick(last - last % NS_PER_MINUTE + NS_PER_MINUTE))
        return _by_timeframe(closed, aggregator.timeframes)


def from_trade_journals(folder: Path, symbol: str, start_ts: int = 0, end_ts: int = 0) -> TradeTape:
    """The journaled trades in ``[start_ts, end_ts)``; 0 stands for no end. Raises ConfigError, CodecError."""
    from core.instruments import file_symbol
    from core.journal import FOREVER, JournalReader

    read = JournalReader(folder).read(f"md.trades.{file_symbol(symbol)}", TradeEvent, start_ts, end_ts or FOREVER)
    trades = [t for t in read if t.symbol == symbol and start_ts <= t.ts < (end_ts or FOREVER)]
    if not trades:
        raise ConfigError(f"no trades of {symbol} in {folder} in that time; expected md.trades.{file_symbol(symbol)}.*")
    return TradeTape(tuple(sorted(trades, key=lambda trade: trade.ts)))


def longer_bars(minutes: BarSeries, timeframes: Iterable[str]) -> list[BarSeries]:
    """Bars of longer timeframes out of minute bars, by the rules of the live aggregator.

    Minutes may be missing, also the last one of a window. Raises ConfigError where there is no complete window.
    """
    longer = [name for name in timeframes if timeframe_ns(name) > NS_PER_MINUTE]
    if not longer:
        return []
    bars = BarAggregator(_with_minutes(longer)).catch_up(minutes.events, ())
    series = _by_timeframe([bar for bar in bars if bar.timeframe in longer], longer)
    if len(series) < len(longer):
        got = ", ".join(bars.timeframe for bars in series) or "none"
        raise ConfigError(f"{minutes.symbol}: expected enough minutes for bars of {', '.join(longer)}, got {got}")
    return series


def _with_minutes(timeframes: Iterable[str]) -> list[str]:
    return [_MINUTE, *(name for name in timeframes if timeframe_ns(name) != NS_PER_MINUTE)]


def _by_timeframe(bars: Sequence[OHLCVBar], timeframes: Iterable[str]) -> list[BarSeries]:
    grouped = [[bar for bar in bars if bar.timeframe == name] for name in timeframes]
    return [from_bars(group) for group in grouped if group]
