"""The bars that fell due while the aggregator was down, out of the journals.

Read are its own bars, and the trades, gaps and changes of health that the feed delivered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from pathlib import Path

from core.clock import NS_PER_DAY
from core.contracts import FeedGap, FeedStatus, OHLCVBar, TradeEvent
from core.instruments import file_symbol
from core.journal import JournalReader
from core.market.bars import BarAggregator, TradeFlow
from core.market.sequence import numeric_id


def catch_up_from_journals(aggregator: BarAggregator, folder: Path, symbols: Iterable[str]) -> list[OHLCVBar]:
    """Bring a new aggregator to where the journals end; the bars that are due and were never published.

    Without minute bars in the journals (none yet, or ``1m`` is no timeframe) it begins with the trades of the
    windows that are open at the last trade.

    Raises:
        CodecError: a malformed journal line.
        FatalError: a journal that cannot be read.
    """
    if not folder.is_dir():  # ambient: the journals of before the start, read once by the host
        return []
    reader = JournalReader(folder)
    return [bar for symbol in symbols for bar in _catch_up(aggregator, reader, symbol)]


def _catch_up(aggregator: BarAggregator, reader: JournalReader, symbol: str) -> list[OHLCVBar]:
    last_minute = reader.last(f"ohlcv.1m.{file_symbol(symbol)}", OHLCVBar)
    last_trade = reader.last(f"md.trades.{file_symbol(symbol)}", TradeEvent)
    if last_minute is not None:
        since, start = last_minute.ts_close, aggregator.window_start(last_minute.ts_open)
    elif last_trade is not None:
        since = start = aggregator.window_start(last_trade.ts)
    else:
        return []
    published = (bar for name in aggregator.timeframes for bar in reader.read_bars(symbol, name, start))
    return aggregator.catch_up(published, _trade_flow(reader, symbol, since))


def _trade_flow(reader: JournalReader, symbol: str, since: int) -> Iterator[TradeFlow]:
    """The trades, gaps and changes of the feed's health since a time, in the order of their receipt.

    The last change of health before that time comes first: it tells whether the feed was down then.
    """
    trades = reader.read_latest(f"md.trades.{file_symbol(symbol)}", TradeEvent, since)
    statuses = _statuses(reader, f"md.status.{file_symbol(symbol)}", since)
    gaps = {
        gap.last_id + 1: gap
        for gap in reader.read(f"md.gaps.{file_symbol(symbol)}", FeedGap, since)
        if gap.symbol == symbol
    }
    flow: Iterator[TradeEvent | FeedStatus] = merge(statuses, trades, key=_receipt)
    for event in flow:
        if event.symbol != symbol:  # file names do not tell A/BC from AB/C
            continue
        if gaps and isinstance(event, TradeEvent) and (number := numeric_id(event.trade_id)) in gaps:
            yield gaps.pop(number)
        yield event


def _statuses(reader: JournalReader, stream: str, since: int) -> list[FeedStatus]:
    earlier: list[FeedStatus] = []
    later: list[FeedStatus] = []
    for status in reader.read(stream, FeedStatus, since - NS_PER_DAY):
        if status.channel == "trades":
            (later if status.ts_ns >= since else earlier).append(status)
    if not earlier and not later and (last := reader.last(stream, FeedStatus)) is not None:
        return [last]
    return [*earlier[-1:], *later]


def _receipt(event: TradeEvent | FeedStatus) -> int:
    return (event.ts_recv_ns or event.ts) if isinstance(event, TradeEvent) else event.ts_ns
