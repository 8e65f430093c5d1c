"""Where an earlier run of the daemon stopped, by what it journaled: a replay that is started again goes on behind it.

A live venue needs none of this: what was traded meanwhile is fetched by the trade ids, and its books begin anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from core import codec
from core.contracts import BookEvent, Contract, TickerEvent, TradeEvent
from core.errors import RejectedError
from core.instruments import file_symbol
from core.market.sequence import numeric_id
from core.service.host import JournalSet
from core.topics import BY_CONTRACT

MarketEvent = TradeEvent | BookEvent | TickerEvent
LastJournaled = Mapping[tuple[str, type[Contract]], MarketEvent]  # by symbol and contract
_CHANNELS: Final[tuple[type[MarketEvent], ...]] = (TradeEvent, BookEvent, TickerEvent)


def last_journaled(journals: JournalSet, symbols: Iterable[str]) -> dict[tuple[str, type[Contract]], MarketEvent]:
    """The last trade, book and ticker of each symbol that an earlier run journaled, as far as there are any."""
    found: dict[tuple[str, type[Contract]], MarketEvent] = {}
    for symbol in symbols:
        for contract in _CHANNELS:
            stream = file_symbol(str(BY_CONTRACT[contract].journal).format(symbol=symbol))
            if not any(journals.folder.glob(f"{stream}.*ndjson*")):
                continue
            last = journals.open(stream).last_line
            if last is None:
                continue
            try:
                found[symbol, contract] = codec.decode(contract, last)
            except RejectedError:
                continue  # a line of something else: the feed decides alone
    return found


def trade_ids(last: LastJournaled) -> dict[str, int]:
    """The last trade ids by symbol, of venues whose ids count."""
    numbers = {e.symbol: numeric_id(e.trade_id) for e in last.values() if isinstance(e, TradeEvent)}
    return {symbol: number for symbol, number in numbers.items() if number is not None}


class JournaledPart:
    """Tells of each raw event of a replay whether an earlier run journaled it; ``count`` is how many were.

    Trades and books go by their ids. What has none goes by its time, and among events of the same time everything
    up to the last journaled one itself is known.
    """

    def __init__(self, last: LastJournaled) -> None:
        self.count = 0
        self._last = dict(last)
        self._met: dict[tuple[str, type[Contract]], bool] = {}

    def has(self, event: Contract) -> bool:
        """Whether the event is in a journal already; asked once for each event, in the order of the feed."""
        if not isinstance(event, MarketEvent):
            return False
        place = event.symbol, type(event)
        last = self._last.get(place)
        if last is None:
            return False
        number, known = _number(event), _number(last)
        if number is not None and known is not None:
            journaled = number <= known
        elif event.ts != last.ts:
            journaled = event.ts < last.ts
        else:
            journaled = not self._met.get(place, False)
            self._met[place] = not journaled or event == last
        self.count += journaled
        return journaled


def _number(event: MarketEvent) -> int | None:
    if isinstance(event, TradeEvent):
        return numeric_id(event.trade_id)
    return event.last_id or None if isinstance(event, BookEvent) else None
