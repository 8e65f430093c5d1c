"""The parser of Binance's spot messages: trades, order book updates and snapshots, best bid and ask.

Raw combined-stream messages, bare ones and the REST depth answer are read alike. The schema checks numbers while
decoding (finite, above zero), so that what comes out needs no second look.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import msgspec
from msgspec import Struct

from core.clock import NS_PER_MS
from core.contracts import BboEvent, TradeEvent
from core.errors import ContractError, UnknownSymbolError
from core.instruments import Instruments
from core.market.binance_messages import (
    SNAPSHOT,
    MessageKind,
    RawBookTicker,
    RawTrade,
    coin_margined,
    futures_message,
    kind_by_content,
    kind_of_stream,
    no_json,
    shown,
)

VENUE: Final = "binance"
_STREAM_KEY: Final = b'{"stream":"'
_SNAPSHOT_KEY: Final = b'{"lastUpdateId"'
_MICROSECONDS_FROM: Final = 10**14  # venue times from here on are in microseconds, below in milliseconds


class DepthDiff(Struct, frozen=True, gc=False):
    """Changes of an order book: the quantities that now stand at these prices, 0 for none.

    Covers the venue's update ids ``first_id`` to ``last_id``; ``ts`` is the venue's time in epoch nanoseconds.
    """

    symbol: str
    first_id: int
    last_id: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    ts: int
    ts_recv_ns: int = 0


class DepthSnapshot(Struct, frozen=True, gc=False):
    """A whole order book at update id ``last_id``. The venue names neither symbol nor time in it."""

    symbol: str
    last_id: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]
    ts_recv_ns: int = 0


Parsed = TradeEvent | BboEvent | DepthDiff | DepthSnapshot


class BinanceParser:
    """A parser of messages, one by one.

    ``unknown_fields`` counts fields that the venue has and we do not know: the message is used all the same. With
    ``bbo`` off, best bid and ask are checked and left out.
    """

    def __init__(self, instruments: Instruments, *, bbo: bool = False) -> None:
        self.unknown_fields: Counter[str] = Counter()
        self._instruments = instruments
        self._bbo = bbo
        self._symbols: dict[str, str] = {}
        self._unknown: dict[str, str] = {}
        self._streams: dict[bytes, MessageKind] = {}
        self._venue_time_ns = 0

    def parse(self, raw: bytes, ts_recv_ns: int = 0) -> Parsed | None:
        """One message as an event; None for one that carries no market data that was asked for.

        Raises:
            CodecError: no JSON, a kind of message that is not known here, or one of another market.
            ContractError: a field is missing, of the wrong type or outside its range; the text names it.
            UnknownSymbolError: no instrument of that name.
        """
        kind = self._kind(raw)
        if kind is None:
            return None
        try:
            message = kind.strict.decode(raw)
        except msgspec.ValidationError as error:
            message = self._lenient(kind, raw, error)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise no_json(raw, error) from None
        body = message.data if kind.combined else message
        if kind.name == "bookTicker":
            return self._best_prices(body, ts_recv_ns)
        if kind.name == "trade":
            return self._trade(body, ts_recv_ns)
        if kind.name == "depthUpdate":
            if body.pu is not None:
                raise futures_message("depthUpdate", "pu", body.s)
            ts = self._time(body.E)
            return DepthDiff(self._symbol(body.s), body.U, body.u, body.b, body.a, ts, ts_recv_ns)
        if body.E:
            raise futures_message("depth snapshot", "E")
        return DepthSnapshot("", body.last_update_id, body.bids, body.asks, ts_recv_ns)

    def _trade(self, raw: RawTrade, ts_recv_ns: int) -> TradeEvent:
        if raw.X is not None:
            raise futures_message("trade", "X", raw.s)
        symbol = self._symbol(raw.s)
        # ``m``: the buyer was the maker, so it was a seller who took.
        side = "sell" if raw.m else "buy"
        return TradeEvent(symbol, raw.p, raw.q, side, self._time(raw.T), str(raw.t), VENUE, ts_recv_ns)  # type: ignore[arg-type]  # a Literal

    def _best_prices(self, raw: RawBookTicker, ts_recv_ns: int) -> BboEvent | None:
        if raw.E:
            raise futures_message("bookTicker", "E", raw.s)
        symbol = self._symbol(raw.s)
        if not self._bbo:
            return None
        # The venue gives a best bid and ask no time: it stands at the latest time that anything had.
        ts = self._venue_time_ns or ts_recv_ns
        return BboEvent(symbol, raw.b, raw.B, raw.a, raw.A, raw.u, ts, VENUE, ts_recv_ns)

    def _time(self, venue_time: int) -> int:
        ts = venue_time * (NS_PER_MS if venue_time < _MICROSECONDS_FROM else 1_000)
        if ts > self._venue_time_ns:
            self._venue_time_ns = ts
        return ts

    def _symbol(self, name: str) -> str:
        symbol = self._symbols.get(name)
        if symbol is None:
            symbol = self._symbols[name] = self._configured(name)
        return symbol

    def _configured(self, name: str) -> str:
        if name in self._unknown:
            raise UnknownSymbolError(self._unknown[name])
        if "_" in name:
            raise coin_margined(name)
        try:
            return self._instruments.of_venue_name(name).symbol
        except UnknownSymbolError as error:
            self._unknown[name] = str(error)  # the search for a similar name takes its time
            raise

    def _kind(self, raw: bytes) -> MessageKind | None:
        if raw.startswith(_STREAM_KEY):
            stream = raw[len(_STREAM_KEY) : raw.find(b'"', len(_STREAM_KEY))]
            kind = self._streams.get(stream)
            if kind is None:
                kind = self._streams[stream] = kind_of_stream(stream.decode("utf-8", "replace"), raw)
            return kind
        if raw.startswith(_SNAPSHOT_KEY):
            return SNAPSHOT
        return kind_by_content(raw)

    def _lenient(self, kind: MessageKind, raw: bytes, error: msgspec.ValidationError) -> Any:
        """The message again without minding fields that are new to us."""
        try:
            message = kind.lenient.decode(raw)
        except msgspec.DecodeError as second:
            raise ContractError(f"Binance {kind.name}: {second} in {shown(raw)}") from None
        self.unknown_fields[f"{kind.name}: {error}"] += 1
        return message
