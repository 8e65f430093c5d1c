"""Recorded market data: raw Binance captures and our own journals, read as the raw events of a feed.

A capture is lines of ``local_ns JSON`` (or JSON alone) in order of receipt; a journal is one contract a line. Bad
lines are told with their place and skipped; nothing else is lost by them.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core import codec
from core.clock import NS_PER_S
from core.contracts import BboEvent, BookEvent, Contract, FeedStatus, TickerEvent, TradeEvent
from core.errors import ConfigError, RejectedError
from core.instruments import Instruments
from core.market.binance import BinanceParser, DepthDiff, DepthSnapshot, Parsed
from core.market.binance_messages import other_venue
from core.market.book import BookBuilder
from core.market.lines import BadLine, OnBadLine, read_lines

_OF_CHANNEL: Final[dict[str, type[Contract]]] = {
    "trades": TradeEvent, "book": BookEvent, "bbo": BboEvent, "ticker": TickerEvent,
}  # fmt: skip
BBO_CHANNELS: Final = frozenset({"bbo", "ticker"})  # made of the venue's best bids and offers
CHANNELS: Final = tuple(_OF_CHANNEL)
Item = Parsed | BookEvent | TickerEvent
MAX_RECEIPT_BACKWARDS_NS: Final = NS_PER_S  # a receipt time further back than this is told
_SNIFFED: Final = 50  # lines looked at to tell what a file is: the first may be torn
_NEAR_ID: Final = 1_000_000  # update ids between a snapshot and an update of the same symbol
_STAMPED: Final = re.compile(rb"^\d{16,20} \s*\{")
_JOURNALS: Final[tuple[tuple[bytes, type[Contract]], ...]] = (
    (b'"trade_id":', TradeEvent),
    (b'"checksum":', BookEvent),
    (b'"bid_price":', BboEvent),
    (b'"volume":', TickerEvent),
)


@dataclass(frozen=True, slots=True)
class Recording:
    """A file and what it holds: ``contract`` for one of our journals, None for a raw capture."""

    path: Path
    contract: type[Contract] | None = None
    stamped: bool = True

    @classmethod
    def at(cls, path: Path) -> Recording:
        """Tell what a file is by its first lines. Raises ConfigError when it is nothing that can be replayed."""
        first = b""
        for number, line in read_lines(path, _ignore):
            first = first or line
            if _STAMPED.match(line):
                return cls(path)
            if line.startswith(b'{"symbol":'):
                for key, contract in _JOURNALS:
                    if key in line and not (contract is TickerEvent and b'"ts_open":' in line):
                        return cls(path, contract)
            elif line.startswith((b'{"stream":', b'{"e":', b'{"lastUpdateId":', b'{"u":')):
                return cls(path, stamped=False)
            if number >= _SNIFFED:
                break
        shown = repr(first[:80].decode("utf-8", "replace")) if first else "an empty file"
        if (venue := other_venue(first)) is not None:
            shown = f"messages of {venue}: {shown}"
        raise ConfigError(
            f"{path}:1: expected a raw Binance capture (`receive_ns JSON` a line) or one of our journals of trades, "
            f"books, best prices or tickers (md.trades.*.ndjson), plain or gzip, got {shown}. Name such a file "
            "with --feed, or use --feed synthetic:42."
        )


class RecordingReader:
    """A reader of one file. ``rejected`` counts lines that could not be used."""

    def __init__(
        self, recording: Recording, instruments: Instruments, on_bad_line: OnBadLine, *, bbo: bool = False
    ) -> None:
        self.rejected = 0
        self._recording = recording
        self._on_bad_line = on_bad_line
        self._instruments = instruments
        self._parser = BinanceParser(instruments, bbo=bbo)
        self._told: Counter[str] = Counter()
        self._latest_receipt = 0
        self._diff_ids: dict[str, int] = {}
        self._unclaimed: list[tuple[int, DepthSnapshot]] = []

    def items(self) -> Iterator[Item]:
        """Trades, updates, snapshots, best bids and offers in the order of the file. Snapshots carry their symbol."""
        return self._journal_items() if self._recording.contract else self._capture_items()

    def _capture_items(self) -> Iterator[Item]:
        parser = self._parser
        stamped = self._recording.stamped
        for number, line in read_lines(self._recording.path, self._complain):
            try:
                receipt, raw = self._split(number, line) if stamped else (0, line)
                item = parser.parse(raw, receipt)
            except RejectedError as error:
                self._reject(number, line, f"{error}. The line is skipped; delete it to be rid of this message.")
                continue
            if parser.unknown_fields:
                self._tell_unknown_fields(number, line)
            if item is None:
                continue
            if type(item) is DepthDiff:
                self._diff_ids[item.symbol] = item.last_id
                yield item  # before a snapshot that it claims: the update has a time, the snapshot has none
                if self._unclaimed:
                    yield from self._claimed(item.symbol, item.first_id)
                continue
            if type(item) is DepthSnapshot:
                self._unclaimed.append((number, item))
                for symbol, last_id in self._diff_ids.items():
                    yield from self._claimed(symbol, last_id)
                continue
            yield item
        for number, snapshot in self._unclaimed:
            self._reject(
                number,
                b"",
                f"a book snapshot at update {snapshot.last_id} that no symbol's updates in this file come near to; "
                "it is skipped. Record the @depth stream along with it.",
            )

    def _claimed(self, symbol: str, update_id: int) -> Iterator[DepthSnapshot]:
        """The snapshots that belong to this symbol: a REST answer does not say whose it is, its id does."""
        for entry in list(self._unclaimed):
            snapshot = entry[1]
            if abs(snapshot.last_id - update_id) <= _NEAR_ID:
                self._unclaimed.remove(entry)
                yield DepthSnapshot(symbol, snapshot.last_id, snapshot.bids, snapshot.asks, snapshot.ts_recv_ns)

    def _journal_items(self) -> Iterator[Item]:
        contract = self._recording.contract
        assert contract is not None
        for number, line in read_lines(self._recording.path, self._complain):
            try:
                event, _ = codec.decode_message(contract, line)
                self._instruments[event.symbol]  # type: ignore[attr-defined]  # all journals of feeds have one
            except RejectedError as error:
                self._reject(number, line, f"{error}. The line is skipped.")
                continue
            yield event  # type: ignore[misc]  # one of _JOURNALS

    def _split(self, number: int, line: bytes) -> tuple[int, bytes]:
        stamp, space, raw = line.partition(b" ")
        if not space or not stamp.isdigit() or len(stamp) > 20:
            raise RejectedError(f"expected `receive_ns JSON`, got {line[:60].decode('utf-8', 'replace')!r}")
        receipt = int(stamp)
        if receipt < self._latest_receipt - MAX_RECEIPT_BACKWARDS_NS:
            behind = (self._latest_receipt - receipt) / NS_PER_S
            self._warn(
                number,
                line,
                f"the receive time goes back by {behind:.3f} s: the recorder's clock was set. The events are used in "
                "the order of the file; check the recorder's time service.",
            )
        self._latest_receipt = receipt
        return receipt, raw

    def _tell_unknown_fields(self, number: int, line: bytes) -> None:
        for text in self._parser.unknown_fields:
            if text not in self._told:
                self._warn(number, line, f"Binance {text}. It is ignored, the message is used; told once.")
            self._told[text] += self._parser.unknown_fields[text]
        self._parser.unknown_fields.clear()

    def _reject(self, number: int, raw: bytes, reason: str) -> None:
        self._complain(BadLine(f"{self._recording.path}:{number}", reason, raw))

    def _warn(self, number: int, raw: bytes, reason: str) -> None:
        self._complain(BadLine(f"{self._recording.path}:{number}", reason, raw, used=True))

    def _complain(self, bad: BadLine) -> None:
        self.rejected += not bad.used
        self._on_bad_line(bad)


def merged(readers: Sequence[RecordingReader]) -> Iterator[Item]:
    """The items of all files by time of receipt; at equal times, and within a file, in the order given."""
    if len(readers) == 1:
        return readers[0].items()
    keyed = [_keyed(index, reader.items()) for index, reader in enumerate(readers)]
    return (entry[3] for entry in heapq.merge(*keyed, key=lambda entry: entry[:3]))


def _keyed(index: int, items: Iterator[Item]) -> Iterator[tuple[int, int, int, Item]]:
    latest = 0
    for count, item in enumerate(items):
        latest = max(latest, item.ts_recv_ns or (0 if isinstance(item, DepthSnapshot) else item.ts))
        yield latest, index, count, item


def raw_events(
    items: Iterator[Item],
    symbols: Collection[str],
    channels: Collection[str] = ("trades", "book"),
    left_out: Counter[str] | None = None,
) -> Iterator[Contract]:
    """Items as the raw events of a feed: updates become tops of book, best bids and offers tickers as well; other
    symbols and channels are left out.

    ``left_out`` counts the items of symbols that were not asked for. Ends with what became of each book and one
    ``FeedStatus`` ``ended`` a symbol.
    """
    books = {symbol: BookBuilder(symbol) for symbol in symbols} if "book" in channels else {}
    with_tickers = "ticker" in channels
    contracts = tuple(contract for channel, contract in _OF_CHANNEL.items() if channel in channels)
    last_prices: dict[str, float] = {}
    now = 0
    for item in items:
        if item.symbol not in symbols:
            if left_out is not None:
                left_out[item.symbol] += 1
            continue
        if not isinstance(item, DepthSnapshot) and item.ts > now:
            now = item.ts
        if isinstance(item, DepthDiff):
            if builder := books.get(item.symbol):
                yield from builder.on_diff(item)
        elif isinstance(item, DepthSnapshot):
            if builder := books.get(item.symbol):
                yield from builder.on_snapshot(item, now)
        else:
            if isinstance(item, contracts):
                yield item
            if with_tickers and isinstance(item, TradeEvent):
                last_prices[item.symbol] = item.price
            elif with_tickers and isinstance(item, BboEvent):
                yield _ticker(item, last_prices.get(item.symbol, 0.0))
    for symbol in symbols:
        if builder := books.get(symbol):
            yield from builder.on_end(now)
        yield FeedStatus(symbol, "", "ended", now, "the recording ended")


def _ticker(bbo: BboEvent, last: float) -> TickerEvent:
    return TickerEvent(bbo.symbol, last, bbo.bid_price, bbo.ask_price, 0.0, bbo.ts, bbo.venue, bbo.ts_recv_ns)


def _ignore(bad: BadLine) -> None:
    """A look at the first lines reports nothing: the reading proper does."""
