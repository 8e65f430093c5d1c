"""Trades into bars: one-minute windows on the wall clock, longer ones derived from them.

A bar is published once and never changes. Volume is the float sum of the trades in the order they came
(minute bars in theirs for longer windows), so that the same trades always give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from core.clock import NS_PER_MINUTE, NS_PER_MS
from core.contracts import ClockTick, Contract, OHLCVBar, TradeEvent
from core.errors import ConfigError
from core.timeframes import TIMEFRAMES, bar_timeframe_ns

GRACE_MS: Final = 2000
MAX_GAP_MINUTES: Final = 7 * 24 * 60  # a longer silence is not filled with flat bars


class _Window:
    """One open window of a symbol: what came so far."""

    __slots__ = ("close", "end", "high", "low", "open", "partial", "start", "timeframe", "trades", "volume")

    def __init__(self, timeframe: str) -> None:
        self.timeframe = timeframe
        self.start = self.end = self.trades = 0
        self.open = self.high = self.low = self.close = self.volume = 0.0
        self.partial = False

    def begin(self, start: int, length: int, price: float, partial: bool) -> None:
        """Open at a price; a window without trades stays flat at it."""
        self.start = start
        self.end = start + length
        self.open = self.high = self.low = self.close = price
        self.volume = 0.0
        self.trades = 0
        self.partial = partial

    def bar(self, symbol: str) -> OHLCVBar:
        """The window as it stands."""
        times = (self.timeframe, self.start, self.end)
        prices = (self.open, self.high, self.low, self.close)
        return OHLCVBar(symbol, *times, *prices, self.volume, self.trades, self.partial)


class _Derived:
    """A longer timeframe of one symbol, built from its minute bars."""

    __slots__ = ("_length", "_window")

    def __init__(self, timeframe: str, length: int) -> None:
        self._window = _Window(timeframe)
        self._length = length

    @property
    def open_until(self) -> int:
        """The end of the window that has begun; 0 when none has."""
        return self._window.end

    def add(self, minute: OHLCVBar) -> OHLCVBar | None:
        """Take the next minute in; the bar that it completes."""
        window = self._window
        if not window.start <= minute.ts_open < window.end:
            start = minute.ts_open - minute.ts_open % self._length
            window.begin(start, self._length, minute.open, start != minute.ts_open)
        window.high = max(window.high, minute.high)
        window.low = min(window.low, minute.low)
        window.close = minute.close
        window.volume += minute.volume
        window.trades += minute.trades
        window.partial = window.partial or minute.partial
        if minute.ts_close != window.end:
            return None
        done = window.bar(minute.symbol)
        window.end = 0
        return done


class _SymbolBars:
    """The windows of one symbol. What lies before ``minute.start`` is published and final.

    While nothing is open (before the first trade, after a huge gap) the minute has no length.
    """

    __slots__ = ("_derived", "_publishes_minutes", "fresh_starts", "late_trades", "minute", "replayed", "symbol")

    def __init__(self, symbol: str, timeframes: Sequence[tuple[str, int]]) -> None:
        minutes = [name for name, length in timeframes if length == NS_PER_MINUTE]
        self.symbol = symbol
        self.minute = _Window(minutes[0] if minutes else "1m")
        self.late_trades = 0
        self.fresh_starts = 0
        self.replayed: set[str] = set()  # ids of the open minute's trades that a journal told before the feed did
        self._publishes_minutes = bool(minutes)
        self._derived = [_Derived(name, length) for name, length in timeframes if length != NS_PER_MINUTE]

    def on_trade(self, trade: TradeEvent) -> Sequence[OHLCVBar]:
        """Take a trade in; the bars that it shows to be complete."""
        minute = self.minute
        closed: Sequence[OHLCVBar] = ()
        if not minute.start <= trade.ts < minute.end:
            if trade.ts < minute.start:
                self.late_trades += 1
                return ()
            closed = self._move_to(trade)
        elif self.replayed and trade.trade_id in self.replayed:
            return ()
        price = trade.price
        if minute.trades == 0:
            minute.open = minute.high = minute.low = price
        elif price > minute.high:
            minute.high = price
        elif price < minute.low:
            minute.low = price
        minute.close = price
        minute.volume += trade.qty
        minute.trades += 1
        return closed

    def resume(self, published: OHLCVBar) -> list[OHLCVBar]:
        """Stand as after publishing this minute bar; the longer bars that it completed."""
        self.minute.begin(published.ts_close, NS_PER_MINUTE, published.close, partial=False)
        return self._derive(published)

    def close_until(self, ts: int) -> list[OHLCVBar]:
        """Close the minutes that end at or before ``ts``; after a huge gap only those of windows already begun."""
        minute = self.minute
        if minute.end == minute.start:
            return []
        if (ts - minute.end) // NS_PER_MINUTE <= MAX_GAP_MINUTES:
            return self._close_minutes(ts)
        closed = self._close_minutes(max([minute.end, *(d.open_until for d in self._derived)]))
        minute.end = minute.start
        self.fresh_starts += 1
        return closed

    def _move_to(self, trade: TradeEvent) -> list[OHLCVBar]:
        minute = self.minute
        closed = self.close_until(trade.ts)
        if minute.end == minute.start:
            start = trade.ts - trade.ts % NS_PER_MINUTE
            minute.begin(start, NS_PER_MINUTE, trade.price, partial=trade.ts > start)
        return closed

    def _close_minutes(self, ts: int) -> list[OHLCVBar]:
        minute = self.minute
        self.replayed.clear()
        bars: list[OHLCVBar] = []
        while minute.end <= ts:
            bar = minute.bar(self.symbol)
            if self._publishes_minutes:
                bars.append(bar)
            bars += self._derive(bar)
            minute.begin(minute.end, NS_PER_MINUTE, minute.close, partial=False)
        return bars

    def _derive(self, minute: OHLCVBar) -> list[OHLCVBar]:
        return [bar for derived in self._derived if (bar := derived.add(minute)) is not None]


class BarAggregator:
    """Publishes the bars of every symbol whose trades it sees, in every timeframe asked for.

    A minute is published when a trade of its symbol at or past its end arrives, or when market time passes
    its end by the grace. Minutes without trades repeat the last close with volume 0. A longer bar follows
    the minute that completes it, shorter timeframes first. Nothing is published before a symbol's first trade;
    windows that were running then are marked ``partial``. After more than ``MAX_GAP_MINUTES`` of silence only
    the windows already begun are completed, and the symbol starts afresh with its next trade.

    The state is a cache: after a restart ``catch_up`` rebuilds it from the journals.
    """

    name = "ohlcv_aggregator"

    def __init__(self, timeframes: Sequence[str] = TIMEFRAMES, grace_ms: int = GRACE_MS) -> None:
        """Set the timeframes and how long (ms of market time) a minute waits for late trades.

        Raises:
            ConfigError: no timeframe, one that does not align with the wall clock, two of one length.
        """
        by_length = {bar_timeframe_ns(name): name for name in timeframes}
        if not by_length or len(by_length) != len(timeframes):
            raise ConfigError(f"timeframes: expected one or more of different lengths, got {list(timeframes)}")
        if grace_ms < 0:
            raise ConfigError(f"grace_ms: expected at least 0, got {grace_ms}")
        self._timeframes = tuple((name, length) for length, name in sorted(by_length.items()))
        self._grace_ns = grace_ms * NS_PER_MS
        self._symbols: dict[str, _SymbolBars] = {}

    def on_event(self, event: Contract) -> Sequence[OHLCVBar]:
        """Take a trade or a clock tick in; the bars that are complete now, in the order of publication."""
        if isinstance(event, TradeEvent):
            bars = self._symbols.get(event.symbol) or self._bars_of(event.symbol)
            return bars.on_trade(event)
        if isinstance(event, ClockTick):
            return self._on_clock(event.ts - self._grace_ns)
        return ()

    def catch_up(self, published: Iterable[OHLCVBar], trades: Iterable[TradeEvent]) -> list[OHLCVBar]:
        """Rebuild the open windows after a restart; the bars that are complete but were never published.

        Trades that come again from the live feed afterwards are recognised by their id.

        Args:
            published: the journaled bars of every timeframe, each in order, that open at or after
                ``window_start(ts_open)`` of the last minute bar; earlier ones do no harm.
            trades: the journaled trades in order since that minute's end; earlier ones do no harm.
        """
        due: list[OHLCVBar] = []
        published_until: dict[tuple[str, str], int] = {}
        for bar in published:
            published_until[bar.symbol, bar.timeframe] = bar.ts_close
            bars = self._bars_of(bar.symbol)
            if bar.timeframe == bars.minute.timeframe:
                due += bars.resume(bar)
        for trade in trades:
            bars = self._bars_of(trade.symbol)
            if trade.ts >= bars.minute.start:
                due += bars.on_trade(trade)
                if trade.trade_id:
                    bars.replayed.add(trade.trade_id)
        return [bar for bar in due if bar.ts_close > published_until.get((bar.symbol, bar.timeframe), 0)]

    def window_start(self, ts_ns: int) -> int:
        """The start of the earliest window, of any timeframe, that is open at this time (UTC epoch ns)."""
        return min(ts_ns - ts_ns % length for _, length in self._timeframes)

    @property
    def timeframes(self) -> tuple[str, ...]:
        """The timeframes published, shortest first."""
        return tuple(name for name, _ in self._timeframes)

    @property
    def late_trades(self) -> dict[str, int]:
        """Trades by symbol that came after their minute was published and were left out of it."""
        return {symbol: bars.late_trades for symbol, bars in self._symbols.items()}

    @property
    def fresh_starts(self) -> dict[str, int]:
        """Gaps by symbol that were too long to be filled with flat bars."""
        return {symbol: bars.fresh_starts for symbol, bars in self._symbols.items()}

    def _on_clock(self, ts: int) -> list[OHLCVBar]:
        closed: list[OHLCVBar] = []
        for bars in self._symbols.values():
            if bars.minute.end <= ts:
                closed += bars.close_until(ts)
        return closed

    def _bars_of(self, symbol: str) -> _SymbolBars:
        found = self._symbols.get(symbol)
        if found is None:
            found = self._symbols[symbol] = _SymbolBars(symbol, self._timeframes)
        return found
