"""Recorded trades of one symbol as a backtest reads them, and the bars that follow from them or from shorter bars."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
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
        for before, after in zip(self.trades, self.trades[1:], strict=False):
            if after.ts < before.ts:
                raise ConfigError(f"trades of {symbols[0]}: expected them in order of time, got {after} after {before}")

    @property
    def symbol(self) -> str:
        """Whose trades these are."""
        return self.trades[0].symbol

    @cached_property
    def checksum(self) -> str:
        """SHA-256 over the trades as they go over the wire."""
        whole = hashlib.sha256()
        for trade in self.trades:
            whole.update(codec.encode(trade))
            whole.update(b"\n")
        return whole.hexdigest()

    def between(self, start_ts: int, end_ts: int) -> TradeTape:
        """The trades in ``[start_ts, end_ts)``; 0 stands for no end. Raises ConfigError when there are none."""
        return TradeTape(tuple(t for t in self.trades if start_ts <= t.ts and (not end_ts or t.ts < end_ts)))

    def bars(self, timeframes: Sequence[str]) -> list[BarSeries]:
        """The bars of these trades, as the aggregator daemon publishes them; minutes always among them.

        The minute of the last trade is closed like any other; a longer bar that it does not complete is left out.
        """
        aggregator = BarAggregator(_with_minutes(timeframes), grace_ms=0)
        found: list[OHLCVBar] = [bar for trade in self.trades for bar in aggregator.on_event(trade)]
        last = self.trades[-1].ts
        found += aggregator.on_event(ClockTick(last - last % NS_PER_MINUTE + NS_PER_MINUTE))
        return _by_timeframe(found, aggregator.timeframes)


def from_trade_journals(folder: Path, symbol: str, start_ts: int = 0, end_ts: int = 0) -> TradeTape:
    """The journaled trades in ``[start_ts, end_ts)``; 0 stands for no end. Raises ConfigError, CodecError."""
    from core.instruments import file_symbol
    from core.journal import FOREVER, JournalReader

    read = JournalReader(folder).read(f"md.trades.{file_symbol(symbol)}", TradeEvent, start_ts, end_ts or FOREVER)
    wanted = [t for t in read if t.symbol == symbol and start_ts <= t.ts < (end_ts or FOREVER)]
    if not wanted:
        raise ConfigError(f"no trades of {symbol} in {folder} in that time; expected md.trades.{file_symbol(symbol)}.*")
    return TradeTape(tuple(sorted(wanted, key=lambda trade: trade.ts)))


def longer_bars(minutes: BarSeries, timeframes: Iterable[str]) -> list[BarSeries]:
    """Bars of longer timeframes out of minute bars, by the rules of the aggregator daemon. Raises ConfigError."""
    wanted = [name for name in timeframes if timeframe_ns(name) > NS_PER_MINUTE]
    if not wanted:
        return []
    aggregator = BarAggregator(_with_minutes(wanted))
    made = aggregator.catch_up(minutes.events, ())
    found = _by_timeframe([bar for bar in made if bar.timeframe in wanted], wanted)
    if len(found) < len(wanted):
        got = ", ".join(each.timeframe for each in found) or "none"
        raise ConfigError(f"{minutes.symbol}: expected enough minutes for bars of {', '.join(wanted)}, got {got}")
    return found


def _with_minutes(timeframes: Iterable[str]) -> list[str]:
    return [_MINUTE, *(name for name in timeframes if timeframe_ns(name) != NS_PER_MINUTE)]


def _by_timeframe(bars: Sequence[OHLCVBar], timeframes: Iterable[str]) -> list[BarSeries]:
    grouped = [[bar for bar in bars if bar.timeframe == name] for name in timeframes]
    return [from_bars(group) for group in grouped if group]
