"""A lively and cheap synthetic market on virtual time, and the feed by which the market data daemon takes it.

The market does not stop when the daemon is down: what was traded meanwhile comes at once when it is back, behind what
it had journaled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from core import codec
from core.clock import NS_PER_MS, NS_PER_S
from core.contracts import BookEvent, Contract, TradeEvent
from core.errors import RejectedError
from core.instruments import Instruments, file_symbol
from core.market.synthetic import START_NS, SyntheticMarket
from core.service.host import JournalSet

MarketEvent = TradeEvent | BookEvent
_TRADE_EVERY_NS: Final = 350 * NS_PER_MS  # the trades between are left out: they cost time and show nothing new
_BOOK_EVERY_NS: Final = 5 * NS_PER_S
_STREAMS: Final[dict[type[MarketEvent], str]] = {TradeEvent: "md.trades", BookEvent: "md.book"}


class Tape:
    """The events of one market, made as they are asked for, and kept: every incarnation reads the same."""

    def __init__(self, seed: int, instruments: Instruments, symbols: Sequence[str]) -> None:
        self.symbols = tuple(symbols)
        self._events: list[MarketEvent] = []
        self._source = _thinned(SyntheticMarket(seed, instruments, symbols).events())

    def __getitem__(self, index: int) -> MarketEvent:
        while len(self._events) <= index:
            self._events.append(next(self._source))
        return self._events[index]


def _thinned(events: Iterator[MarketEvent]) -> Iterator[MarketEvent]:
    last: dict[tuple[str, type[Contract]], int] = {}
    numbers: dict[str, int] = {}
    for event in events:
        place = (event.symbol, type(event))
        pause = _TRADE_EVERY_NS if isinstance(event, TradeEvent) else _BOOK_EVERY_NS
        if event.ts_ns < last.get(place, 0) + pause:
            continue
        last[place] = event.ts_ns
        if isinstance(event, TradeEvent):
            numbers[event.symbol] = number = numbers.get(event.symbol, 0) + 1
            event = replace(event, trade_id=str(number))
        yield event


def due_s(event: MarketEvent) -> float:
    """The virtual second at which an event is received."""
    return (event.ts_recv_ns - START_NS) / NS_PER_S


def journaled_ids(journals: JournalSet, symbols: Sequence[str]) -> dict[tuple[str, type[Contract]], int]:
    """The ids of the last trade and book of each symbol that an earlier incarnation journaled."""
    newest: dict[tuple[str, type[Contract]], int] = {}
    for symbol in symbols:
        for contract, stream in _STREAMS.items():
            last = journals.open(f"{stream}.{file_symbol(symbol)}").last_line
            if last is None:
                continue
            try:
                newest[symbol, contract] = _number(codec.decode(contract, last))
            except RejectedError:
                continue
    return newest


async def feed(
    tape: Tape, journaled: Mapping[tuple[str, type[Contract]], int], end_s: float
) -> AsyncGenerator[Contract, None]:
    """The events that were not journaled, each at its time; silent from ``end_s`` on."""
    loop = asyncio.get_running_loop()
    index = 0
    while (due := due_s(event := tape[index])) < end_s:
        index += 1
        if _number(event) <= journaled.get((event.symbol, type(event)), 0):
            continue
        wait = due - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        yield event
    await loop.create_future()


def _number(event: MarketEvent) -> int:
    return int(event.trade_id) if isinstance(event, TradeEvent) else event.last_id
