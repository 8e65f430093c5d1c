"""The place where an earlier run of the daemon stopped, by its journals: a replay that starts again goes on behind it.

A live venue needs none of this: what was traded meanwhile is fetched by the trade ids, and its books begin anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from core import codec
from core.clock import NS_PER_MINUTE
from core.contracts import BboEvent, BookEvent, Contract, TickerEvent, TradeEvent
from core.errors import RejectedError
from core.instruments import file_symbol
from core.journal import JournalReader
from core.market.sequence import JournaledTail, numeric_id
from core.service.host import JournalSet
from core.topics import BY_CONTRACT

MarketEvent = TradeEvent | BookEvent | BboEvent | TickerEvent
LastJournaled = Mapping[tuple[str, type[Contract]], MarketEvent]  # by symbol and contract
_TAIL_NS: Final = NS_PER_MINUTE  # before the last journaled trade: older trades that come again count as journaled
_CHANNELS: Final[tuple[type[MarketEvent], ...]] = (TradeEvent, BookEvent, BboEvent, TickerEvent)


def last_journaled(journals: JournalSet, symbols: Iterable[str]) -> dict[tuple[str, type[Contract]], MarketEvent]:
    """The last trade, order book, best bid and offer, and ticker of each symbol that an earlier run journaled."""
    latest: dict[tuple[str, type[Contract]], MarketEvent] = {}
    for symbol in symbols:
        for contract in _CHANNELS:
            stream = file_symbol(str(BY_CONTRACT[contract].journal).format(symbol=symbol))
            if not any(journals.folder.glob(f"{stream}.*ndjson*")):
                continue
            last = journals.open(stream).last_line
            if last is None:
                continue
            try:
                latest[symbol, contract] = codec.decode(contract, last)
            except RejectedError:
                continue  # a line of something else: the feed decides alone
    return latest


def trade_ids(last: LastJournaled) -> dict[str, int]:
    """The last trade ids by symbol, of venues whose ids count."""
    numbers = {e.symbol: numeric_id(e.trade_id) for e in last.values() if isinstance(e, TradeEvent)}
    return {symbol: number for symbol, number in numbers.items() if number is not None}


def journaled_tails(folder: Path, last: LastJournaled) -> dict[str, JournaledTail]:
    """The trades of the last minute that each symbol's journal has, for venues whose ids do not count.

    Raises CodecError, FatalError.
    """
    tails: dict[str, JournaledTail] = {}
    for event in last.values():
        if isinstance(event, TradeEvent):
            since_ns = event.ts - _TAIL_NS
            stream = file_symbol(str(BY_CONTRACT[TradeEvent].journal).format(symbol=event.symbol))
            trades = list(JournalReader(folder).read_latest(stream, TradeEvent, since_ns))
            newest = max((t.ts for t in trades), default=event.ts)
            tails[event.symbol] = JournaledTail(since_ns, newest, frozenset(t.trade_id for t in trades))
    return tails


class JournaledPart:
    """The part of a replay that an earlier run journaled; ``count`` is its length so far.

    Trades whose ids count (``contiguous``) and books go by their ids, other trades with ids by those of ``tails``.
    What has no id goes by its time, and among events of the same time everything up to the last journaled one belongs
    to it.
    """

    def __init__(
        self, last: LastJournaled, tails: Mapping[str, JournaledTail] | None = None, *, contiguous: bool = True
    ) -> None:
        self.count = 0
        self._last = dict(last)
        self._tails = tails or {}
        self._contiguous = contiguous
        self._passed: dict[tuple[str, type[Contract]], bool] = {}

    def has(self, event: Contract) -> bool:
        """Whether the event is in a journal already; asked once for each event, in the order of the feed."""
        if not isinstance(event, MarketEvent):
            return False
        channel = event.symbol, type(event)
        last = self._last.get(channel)
        if last is None:
            return False
        number, last_number = self._number(event), self._number(last)
        if number is not None and last_number is not None:
            journaled = number <= last_number
        elif isinstance(event, TradeEvent) and event.trade_id and event.symbol in self._tails:
            journaled = event in self._tails[event.symbol]
        elif event.ts != last.ts:
            journaled = event.ts < last.ts
        else:
            journaled = not self._passed.get(channel, False)
            self._passed[channel] = not journaled or event == last
        self.count += journaled
        return journaled

    def _number(self, event: MarketEvent) -> int | None:
        if isinstance(event, TradeEvent):
            return numeric_id(event.trade_id) if self._contiguous else None
        if isinstance(event, BookEvent):
            return event.last_id or None
        return event.update_id or None if isinstance(event, BboEvent) else None
