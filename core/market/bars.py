"""The bar aggregator: trades into one-minute bars on the wall clock, and longer bars derived from those.

A bar is published once and never changes. Volume is the float sum of the trades in the order they came
(minute bars in theirs for longer windows), so that the same trades always give the same bytes. A bar that overlaps
an outage of the feed or a recorded gap is marked ``partial``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from core.clock import NS_PER_MINUTE, NS_PER_MS
from core.contracts import ClockTick, Contract, FeedGap, FeedStatus, OHLCVBar, TradeEvent
from core.errors import ConfigError
from core.exact import integer_sum
from core.market.windows import DerivedWindow, Window
from core.timeframes import TIMEFRAMES, bar_timeframe_ns, window_start

GRACE_MS: Final = 2000
MAX_GAP_MINUTES: Final = 7 * 24 * 60  # a longer silence is not filled with flat bars


TradeFlow = TradeEvent | FeedStatus | FeedGap  # the events of one symbol's trades and of their absence
_DOWN_STATES: Final = frozenset({"connecting", "stale", "reconnecting"})  # of a feed whose trades do not come


class _SymbolBars:
    """The windows of one symbol. What lies before ``minute.start`` is published and final."""

    __slots__ = (
        "_derived", "_down", "_missing_until", "_publishes_minutes", "fresh_starts", "late_gaps", "late_trades",
        "minute", "partial_minutes", "replayed", "returning", "symbol",
    )  # fmt: skip

    def __init__(self, symbol: str, timeframes: Sequence[tuple[str, int]]) -> None:
        minutes = [name for name, length in timeframes if length == NS_PER_MINUTE]
        self.symbol = symbol
        self.minute = Window(minutes[0] if minutes else "1m")
        self.late_trades = 0
        self.late_gaps = 0
        self.partial_minutes = 0
        self.fresh_starts = 0
        self.replayed: set[str] = set()  # ids of the open minute's trades that a journal delivered before the feed did
        self._down = False  # the feed reported that trades do not come
        self.returning = False  # the feed is back, and nothing has told the market's time since
        self._missing_until = 0  # the last outage or gap reached up to here
        self._publishes_minutes = bool(minutes)
        self._derived = [DerivedWindow(name, length) for name, length in timeframes if length != NS_PER_MINUTE]

    @property
    def is_open(self) -> bool:
        """Whether a minute has begun; none has before the first trade and after a huge gap."""
        return self.minute.end > self.minute.start

    def on_trade(self, trade: TradeEvent) -> Sequence[OHLCVBar]:
        """Take a trade in; the bars that it shows to be complete."""
        minute = self.minute
        closed: Sequence[OHLCVBar] = ()
        if self.returning:
            self.end_outage(trade.ts)
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

    def on_status(self, status: FeedStatus) -> None:
        """Mark what overlaps an outage of the trades: the open minute, and those that begin before it is over."""
        if status.channel != "trades":
            return
        if status.state in _DOWN_STATES:
            self._down, self.returning = True, False
            self.minute.partial = True
        elif status.state == "live":
            self._down, self.returning = False, self._down or self.returning

    def end_outage(self, ts: int) -> None:
        """Take the first market time after an outage: up to there trades may be missing."""
        self.returning = False
        self._missing_until = max(self._missing_until, ts)

    def on_gap(self, gap: FeedGap) -> None:
        """Mark what overlaps missing trades: they lie between the last trade and ``gap.ts_detected_ns``."""
        self._missing_until = max(self._missing_until, gap.ts_detected_ns)
        if self.is_open and self.minute.trades == 0:
            self.late_gaps += 1  # the last trade stands in a minute that is published
        self.minute.partial = True

    def resume(self, published: OHLCVBar) -> list[OHLCVBar]:
        """Stand as after publishing this minute bar; the longer bars that it completed."""
        self._begin(published.ts_close, published.close)
        return self._derive(published)

    def close_until(self, ts: int) -> list[OHLCVBar]:
        """Close the minutes that end at or before ``ts``; after a huge gap only those of windows already begun."""
        minute = self.minute
        if not self.is_open:
            return []
        if (ts - minute.end) // NS_PER_MINUTE <= MAX_GAP_MINUTES:
            return self._close_minutes(ts)
        closed = self._close_minutes(max([minute.end, *(window.open_until for window in self._derived)]))
        minute.end = minute.start
        self.fresh_starts += 1
        return closed

    def _move_to(self, trade: TradeEvent) -> list[OHLCVBar]:
        closed = self.close_until(trade.ts)
        if not self.is_open:
            start = window_start(trade.ts, NS_PER_MINUTE)
            self._begin(start, trade.price, partial=trade.ts > start)
        return closed

    def _begin(self, start: int, price: float, *, partial: bool = False) -> None:
        overlaps = self._down or self.returning or start <= self._missing_until
        self.minute.begin(start, NS_PER_MINUTE, price, partial=partial or overlaps)

    def _close_minutes(self, ts: int) -> list[OHLCVBar]:
        minute = self.minute
        self.replayed.clear()
        bars: list[OHLCVBar] = []
        while minute.end <= ts:
            bar = minute.bar(self.symbol)
            self.partial_minutes += bar.partial
            if self._publishes_minutes:
                bars.append(bar)
            bars += self._derive(bar)
            self._begin(minute.end, minute.close)
        return bars

    def _derive(self, minute: OHLCVBar) -> list[OHLCVBar]:
        return [bar for window in self._derived for bar in window.add(minute)]


class BarAggregator:
    """The bars of every symbol whose trades it sees, in every timeframe asked for.

    A minute is published when a trade of its symbol at or past its end arrives, or when market time passes
    its end by the grace. Minutes without trades repeat the last close with volume 0; a longer bar opens at the first
    trade of its window all the same. A longer bar follows the minute that completes it, shorter timeframes first.
    Nothing is published before a symbol's first trade. After more than ``MAX_GAP_MINUTES`` of silence only
    the windows already begun are completed, and the symbol starts afresh with its next trade.

    Marked ``partial`` are windows that were running when data began, and those that overlap an outage (``FeedStatus``
    of the trades) or missing trades (``FeedGap``).

    The state is a cache: after a restart ``catch_up`` recovers it from the journals.
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
            return self._on_clock(event.ts)
        if isinstance(event, FeedStatus):
            self._bars_of(event.symbol).on_status(event)
        elif isinstance(event, FeedGap):
            self._bars_of(event.symbol).on_gap(event)
        return ()

    def catch_up(self, published: Iterable[OHLCVBar], events: Iterable[TradeFlow]) -> list[OHLCVBar]:
        """Recover the open windows after a restart; the bars that are complete but were never published.

        Trades that come again from the live feed afterwards are recognised by their id.

        Args:
            published: the journaled bars of every timeframe, each in order, that open at or after
                ``window_start(ts_open)`` of the last minute bar; earlier ones do no harm.
            events: the journaled trades, gaps and changes of the feed's health in order since that minute's end, with
                the last change before it; earlier trades do no harm.
        """
        due: list[OHLCVBar] = []
        published_until: dict[tuple[str, str], int] = {}
        for bar in published:
            published_until[bar.symbol, bar.timeframe] = bar.ts_close
            bars = self._bars_of(bar.symbol)
            if bar.timeframe == bars.minute.timeframe:
                due += bars.resume(bar)
        for event in events:
            bars = self._bars_of(event.symbol)
            if not isinstance(event, TradeEvent):
                self.on_event(event)
            elif event.ts >= bars.minute.start:
                due += bars.on_trade(event)
                if event.trade_id:
                    bars.replayed.add(event.trade_id)
        return [bar for bar in due if bar.ts_close > published_until.get((bar.symbol, bar.timeframe), 0)]

    def window_start(self, ts_ns: int) -> int:
        """The start of the earliest window, of any timeframe, that is open at this time (UTC epoch ns)."""
        return min(window_start(ts_ns, length) for _, length in self._timeframes)

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
        """Silences by symbol that were too long to be filled with flat bars."""
        return {symbol: bars.fresh_starts for symbol, bars in self._symbols.items()}

    def counters(self) -> Mapping[str, int]:
        """The counts of all symbols since the start, by name.

        ``late_trades`` came after their minute was published; ``late_gaps`` may reach back into a published minute;
        ``partial_minutes`` were published with something missing; ``fresh_starts`` followed a huge silence.
        """
        symbols = self._symbols.values()
        return {
            "late_trades": integer_sum(bars.late_trades for bars in symbols),
            "late_gaps": integer_sum(bars.late_gaps for bars in symbols),
            "partial_minutes": integer_sum(bars.partial_minutes for bars in symbols),
            "fresh_starts": integer_sum(bars.fresh_starts for bars in symbols),
        }

    def _on_clock(self, now: int) -> list[OHLCVBar]:
        ts = now - self._grace_ns
        closed: list[OHLCVBar] = []
        for bars in self._symbols.values():
            if bars.returning:
                bars.end_outage(now)
            if bars.minute.end <= ts:
                closed += bars.close_until(ts)
        return closed

    def _bars_of(self, symbol: str) -> _SymbolBars:
        bars = self._symbols.get(symbol)
        if bars is None:
            bars = self._symbols[symbol] = _SymbolBars(symbol, self._timeframes)
        return bars
