"""The market data of a recorded session, as its fleet got it: raw events in the order of receipt, out of its journals.

Journals keep each symbol and channel apart and leave the clock out. Receipt times give the order between them, and
the ingest component, asked again, gives the clock: it makes the same events out of the same raw ones.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from core.contracts import BboEvent, BookEvent, Contract, FeedGap, FeedStatus, TickerEvent, TradeEvent
from core.errors import ConfigError
from core.instruments import Instruments, file_symbol
from core.journal import JournalReader
from core.market.sequence import MAX_HELD, MAX_HELD_OFFLINE, BackfillDone, numeric_id

LEDGERS: Final = ("strategy_runner", "risk_engine", "paper_trader")
_PLACES: Final = (("journals", "ledgers"), ("log/njord", "ledger"))  # of a run, of an installation's var/
_CHANNELS: Final[tuple[tuple[str, type[Contract]], ...]] = (
    ("md.trades", TradeEvent),
    ("md.ticker", TickerEvent),
    ("md.book", BookEvent),
    ("md.bbo", BboEvent),
)
_LIVE_STATES: Final = ("connecting", "reconnecting")  # a recording is never either
_RECOUNTED: Final = "trades: the venue counts anew"  # a status that the ingest component gives itself
_Key = tuple[int, int, int, int]
C = TypeVar("C", bound=Contract)


@dataclass(frozen=True)
class SessionFiles:
    """The folders of a recorded session's journals and ledgers. Nothing is ever written there."""

    folder: Path
    journals: Path
    ledgers: Path

    @classmethod
    def at(cls, folder: Path) -> SessionFiles:
        """Find them in the folder of a run (``var/runs/…``) or of an installation (``var``). Raises ConfigError."""
        for journals, ledgers in _PLACES:
            if (folder / journals).is_dir() and (folder / ledgers).is_dir():
                return cls(folder, folder / journals, folder / ledgers)
        raise ConfigError(
            f"{folder}: expected the folder of a session with journals/ and ledgers/, such as one below var/runs, or "
            "an installation's var"
        )

    def ledger(self, daemon: str) -> Path:
        """The path of a daemon's ledger, existing or not."""
        return self.ledgers / f"{daemon}.ndjson"


class Raw(NamedTuple):
    """A raw event with the time of its receipt."""

    receipt_ns: int
    event: Contract


class RecordedMarket:
    """The market data of a session.

    Args:
        files: the session.
        instruments: what is configured; at equal times of receipt their order decides, as in a synthetic market.
    """

    def __init__(self, files: SessionFiles, instruments: Instruments) -> None:
        self._reader = JournalReader(files.journals)
        streams = set(self._reader.streams())
        self.symbols = tuple(s for s in instruments if f"md.trades.{file_symbol(s)}" in streams)
        if not self.symbols:
            raise ConfigError(
                f"{files.journals}: expected md.trades.* of configured symbols ({', '.join(instruments)}), got "
                f"{', '.join(sorted(streams)) or 'nothing'}; name the session's configuration with --config-root"
            )
        self._streams = streams

    @cached_property
    def live(self) -> bool:
        """Whether the feed was a venue, which could be asked for missing trades."""
        return any(status.state in _LIVE_STATES and status.channel == "trades" for status in self._statuses)

    def last_prices(self) -> dict[str, float]:
        """The price of each symbol's last trade."""
        last = {s: self._reader.last(f"md.trades.{file_symbol(s)}", TradeEvent) for s in self.symbols}
        return {symbol: trade.price for symbol, trade in last.items() if trade is not None}

    def trades(self, symbol: str) -> Iterator[TradeEvent]:
        """The trades of a symbol as the fleet got them."""
        return self._reader.read(f"md.trades.{file_symbol(symbol)}", TradeEvent)

    def streams(self) -> list[str]:
        """The journals of market data, without those of gaps."""
        names = [
            f"{channel}.{file_symbol(s)}" for channel, _ in (*_CHANNELS, ("md.status", None)) for s in self.symbols
        ]
        return [name for name in names if name in self._streams]

    def lines(self, stream: str) -> Iterator[bytes]:
        """A journal's lines."""
        return self._reader.lines(stream)

    def events(self) -> Iterator[Contract]:
        """The input of the ingest component, as far as it is journaled. Raises CodecError, FatalError."""
        statuses = list(self._statuses)
        gaps = {(gap.symbol, gap.last_id + 1): gap for gap in self._gaps()} if self.live else {}
        for raw in self._merged():
            now = raw.receipt_ns if self.live else raw.event.ts_ns
            while statuses and statuses[0].ts_ns < now and (self.live or statuses[0].state != "ended"):
                yield statuses.pop(0)
            yield raw.event
            if gaps and isinstance(raw.event, TradeEvent):
                gap = gaps.pop((raw.event.symbol, numeric_id(raw.event.trade_id) or -1), None)
                if gap is not None:  # the feed answered that it could not be had
                    yield BackfillDone(gap.symbol, gap.first_id, gap.last_id, gap.reason, gap.ts_ns)
        yield from statuses

    @cached_property
    def _statuses(self) -> Sequence[FeedStatus]:
        statuses: list[FeedStatus] = []
        for symbol in self.symbols:
            for status in self._optional(f"md.status.{file_symbol(symbol)}", FeedStatus):
                if not status.detail.startswith(_RECOUNTED):
                    insort(statuses, status, key=lambda other: other.ts_ns)
        return statuses

    def _gaps(self) -> Iterator[FeedGap]:
        for symbol in self.symbols:
            yield from self._optional(f"md.gaps.{file_symbol(symbol)}", FeedGap)

    def _optional(self, stream: str, contract: type[C]) -> Iterator[C]:
        return self._reader.read(stream, contract) if stream in self._streams else iter(())

    def _merged(self) -> Iterator[Raw]:
        window = MAX_HELD if self.live else MAX_HELD_OFFLINE
        journals = [
            _keyed(
                self._optional(f"{channel}.{file_symbol(symbol)}", contract),
                (place, index),
                window if contract is TradeEvent else 0,
            )
            for place, symbol in enumerate(self.symbols)
            for index, (channel, contract) in enumerate(_CHANNELS)
        ]
        return (Raw(key[0], event) for key, event in heapq.merge(*journals, key=lambda keyed: keyed[0]))


def _keyed(events: Iterable[Contract], place: tuple[int, int], window: int) -> Iterator[tuple[_Key, Contract]]:
    """Events with their place in the order of receipt; trades that waited for others go back to where they came."""
    heap: list[tuple[_Key, Contract]] = []
    for count, event in enumerate(events):
        receipt: int = getattr(event, "ts_recv_ns", 0) or event.ts_ns
        heapq.heappush(heap, ((receipt, *place, count), event))
        if len(heap) > window:
            yield heapq.heappop(heap)
    while heap:
        yield heapq.heappop(heap)
