"""One price per period from whatever is delivered, so that the same strategy runs on trades and on bars."""

from __future__ import annotations

from core.clock import NS_PER_S
from core.contracts import Contract, OHLCVBar, TradeEvent
from core.errors import ConfigError


class PriceSampler:
    """Every bar's close, and of trades the first in each period of ``period_s`` seconds per symbol (0: every one).

    Bars must be of one timeframe: the closes of minutes and of hours make no series.
    """

    def __init__(self, period_s: float = 0.0) -> None:
        self._period_ns = round(period_s * NS_PER_S)
        self._sampled: dict[str, int] = {}  # by symbol: the period last sampled
        self._timeframe = ""

    def price(self, event: Contract) -> float | None:
        """The price of a new sample in quote currency, None when the event gives none. Raises ConfigError for bars of
        two timeframes."""
        if isinstance(event, OHLCVBar):
            self._timeframe = one_timeframe(self._timeframe, event)
            return event.close
        if not isinstance(event, TradeEvent):
            return None
        if self._period_ns:
            period = event.ts_ns // self._period_ns
            if period <= self._sampled.get(event.symbol, -1):
                return None
            self._sampled[event.symbol] = period
        return event.price


def one_timeframe(current: str, bar: OHLCVBar) -> str:
    """The timeframe that a strategy gets bars of; ``current`` is empty before the first. Raises ConfigError for two."""
    if current and bar.timeframe != current:
        raise ConfigError(
            f"bars of {bar.symbol}: expected one timeframe, {current} as before, got {bar.timeframe} too; choose one "
            f"under the strategy's `events` (--events in a backtest), such as md.ohlcv.{current}.*"
        )
    return bar.timeframe
