"""Windows of bars that are still open: a minute that takes trades, a longer window that takes minutes.

A window opens at the price of its first trade. A minute without a trade adds nothing to a longer window; a window
without any trade is flat at the last close.
"""

from __future__ import annotations

from core.clock import NS_PER_MINUTE
from core.contracts import OHLCVBar
from core.timeframes import window_start


class Window:
    """An open window of a symbol. It has no length while nothing is open: ``end`` equals ``start``."""

    __slots__ = ("close", "end", "high", "low", "open", "partial", "start", "timeframe", "trades", "volume")

    def __init__(self, timeframe: str) -> None:
        self.timeframe = timeframe
        self.start = self.end = self.trades = 0
        self.open = self.high = self.low = self.close = self.volume = 0.0
        self.partial = False

    def begin(self, start: int, length: int, price: float, *, partial: bool) -> None:
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


class DerivedWindow:
    """The open window of a longer timeframe, built from the minute bars of one symbol.

    A window that lacks minutes, at whichever place, is ``partial``. Times without any minute have no bar.
    """

    __slots__ = ("_last_close", "_length", "_minutes", "_traded", "_window")

    def __init__(self, timeframe: str, length: int) -> None:
        self._window = Window(timeframe)
        self._length = length
        self._minutes = 0
        self._traded = False
        self._last_close = 0.0

    @property
    def open_until(self) -> int:
        """The end of the window that has begun; 0 when none has."""
        return self._window.end

    def add(self, minute: OHLCVBar) -> list[OHLCVBar]:
        """Take the next minute in; the bars that it shows to be complete.

        Two are complete when the last minutes of the window before never came and this minute is the last of its own.
        """
        closed = [self._closed(minute.symbol)] if 0 < self._window.end <= minute.ts_open else []
        if self._window.end == 0:
            start = window_start(minute.ts_open, self._length)
            self._window.begin(start, self._length, minute.close, partial=False)
            self._minutes, self._traded = 0, False
        self._include(minute)
        if minute.ts_close >= self._window.end:
            closed.append(self._closed(minute.symbol))
        return closed

    def _include(self, minute: OHLCVBar) -> None:
        window = self._window
        window.volume += minute.volume
        window.trades += minute.trades
        window.partial = window.partial or minute.partial
        self._minutes += 1
        filler, self._last_close = self._is_filler(minute), minute.close
        if filler:
            return
        if self._traded:
            window.high = max(window.high, minute.high)
            window.low = min(window.low, minute.low)
        else:
            window.open, window.high, window.low = minute.open, minute.high, minute.low
            self._traded = True
        window.close = minute.close

    def _is_filler(self, minute: OHLCVBar) -> bool:
        """Whether the minute had no trade: no volume, and flat at the close before it.

        Bars of markets without volume, such as currencies, count by their prices.
        """
        return (
            minute.trades == 0
            and minute.volume == 0.0
            and minute.open == minute.high == minute.low == minute.close
            and self._last_close in (0.0, minute.close)
        )

    def _closed(self, symbol: str) -> OHLCVBar:
        window = self._window
        if self._minutes * NS_PER_MINUTE != self._length:
            window.partial = True
        bar = window.bar(symbol)
        window.end = 0
        return bar
