"""What the aggregator missed while it was down, from the journals: its own bars and the feed's trades."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core.contracts import OHLCVBar, TradeEvent
from core.instruments import file_symbol
from core.journal import JournalReader
from core.market.bars import BarAggregator


def catch_up_from_journals(aggregator: BarAggregator, folder: Path, symbols: Iterable[str]) -> list[OHLCVBar]:
    """Bring a new aggregator to where the journals end; the bars that are due and were never published.

    Without minute bars in the journals (none yet, or ``1m`` is no timeframe) it begins with the trades of the
    windows that are open at the last trade.

    Raises:
        CodecError: a malformed journal line.
        FatalError: a journal that cannot be read.
    """
    if not folder.is_dir():
        return []
    reader = JournalReader(folder)
    return [bar for symbol in symbols for bar in _catch_up(aggregator, reader, symbol)]


def _catch_up(aggregator: BarAggregator, reader: JournalReader, symbol: str) -> list[OHLCVBar]:
    trades_stream = f"md.trades.{file_symbol(symbol)}"
    last_minute = reader.last(f"ohlcv.1m.{file_symbol(symbol)}", OHLCVBar)
    last_trade = reader.last(trades_stream, TradeEvent)
    if last_minute is not None:
        since, start = last_minute.ts_close, aggregator.window_start(last_minute.ts_open)
    elif last_trade is not None:
        since = start = aggregator.window_start(last_trade.ts)
    else:
        return []
    published = (bar for name in aggregator.timeframes for bar in reader.read_bars(symbol, name, start))
    trades = (trade for trade in reader.read_latest(trades_stream, TradeEvent, since) if trade.symbol == symbol)
    return aggregator.catch_up(published, trades)
