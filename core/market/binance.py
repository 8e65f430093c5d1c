"""Binance's own messages as typed facts: trades, order book updates and snapshots, best bid and ask.

Raw combined-stream messages, bare ones and the REST depth answer are read alike. The schema checks numbers while
decoding (finite, above zero), so that what comes out needs no second look.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from core.clock import NS_PER_MS
from core.contracts import TickerEvent, TradeEvent
from core.errors import CodecError, ContractError, RejectedError
from core.instruments import Instruments

VENUE: Final = "binance"
_MAX_NUMBER: Final = 1e18  # above any price or quantity; keeps infinity out
_MICROSECONDS_FROM: Final = 10**14  # venue times from here on are in microseconds, below in milliseconds
_SHOWN: Final = 120  # characters of a bad message that an error quotes

Above0 = Annotated[float, Meta(gt=0, lt=_MAX_NUMBER)]
AtLeast0 = Annotated[float, Meta(ge=0, lt=_MAX_NUMBER)]
Count = Annotated[int, Meta(ge=0)]
RawLevel = tuple[Above0, AtLeast0]


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


Parsed = TradeEvent | TickerEvent | DepthDiff | DepthSnapshot


class _Trade(Struct, gc=False):
    s: str
    t: Count
    p: Above0
    q: Above0
    T: Annotated[int, Meta(gt=0)]
    m: bool
    e: str = ""
    E: int = 0
    M: bool = True
    a: int = 0
    b: int = 0


class _Depth(Struct, gc=False):
    s: str
    U: Count
    u: Count
    b: list[RawLevel]
    a: list[RawLevel]
    E: Annotated[int, Meta(gt=0)]
    e: str = ""
    T: int = 0
    pu: int = 0


class _BookTicker(Struct, gc=False):
    u: Count
    s: str
    b: Above0
    B: AtLeast0
    a: Above0
    A: AtLeast0
    e: str = ""
    E: int = 0
    T: int = 0


class _Snapshot(Struct, gc=False):
    last_update_id: Count = msgspec.field(name="lastUpdateId")
    bids: list[RawLevel]
    asks: list[RawLevel]
    E: int = 0
    T: int = 0


class _StrictTrade(_Trade, forbid_unknown_fields=True):
    pass


class _StrictDepth(_Depth, forbid_unknown_fields=True):
    pass


class _StrictBookTicker(_BookTicker, forbid_unknown_fields=True):
    pass


class _StrictSnapshot(_Snapshot, forbid_unknown_fields=True):
    pass


M = TypeVar("M")


class _Combined(Struct, Generic[M], gc=False):
    stream: str
    data: M


class _Probe(Struct, gc=False):
    """Just enough of a message to tell what it is."""

    stream: str | None = None
    e: str | None = None
    u: int | None = None
    s: str | None = None
    last_update_id: int | None = msgspec.field(name="lastUpdateId", default=None)
    id: int | str | None = None


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one kind of message is decoded: ``strict`` first, ``lenient`` for one with fields that are new to us."""

    name: str
    strict: msgspec.json.Decoder[Any]
    lenient: msgspec.json.Decoder[Any]
    combined: bool = False


def _bare(name: str, strict: Any, lenient: Any) -> _Kind:
    return _Kind(name, msgspec.json.Decoder(strict, strict=False), msgspec.json.Decoder(lenient, strict=False))


def _combined(name: str, strict: Any, lenient: Any) -> _Kind:
    return _Kind(
        name,
        msgspec.json.Decoder(_Combined[strict], strict=False),
        msgspec.json.Decoder(_Combined[lenient], strict=False),
        combined=True,
    )


_TRADE: Final = ("trade", _StrictTrade, _Trade)
_DEPTH: Final = ("depthUpdate", _StrictDepth, _Depth)
_TICKER: Final = ("bookTicker", _StrictBookTicker, _BookTicker)
_BARE: Final = {row[0]: _bare(*row) for row in (_TRADE, _DEPTH, _TICKER)}
_STREAMS: Final = {"trade": _combined(*_TRADE), "depth": _combined(*_DEPTH), "bookTicker": _combined(*_TICKER)}
_SNAPSHOT: Final = _bare("snapshot", _StrictSnapshot, _Snapshot)
_probe: Final = msgspec.json.Decoder(_Probe, strict=False)
_STREAM_KEY: Final = b'{"stream":"'
_SNAPSHOT_KEY: Final = b'{"lastUpdateId"'


class BinanceParser:
    """Reads messages one by one. ``unknown_fields`` counts fields that the venue has and we do not know: the
    message is used all the same. With ``tickers`` off, best bid and ask are checked and left out."""

    def __init__(self, instruments: Instruments, *, tickers: bool = False) -> None:
        self.unknown_fields: Counter[str] = Counter()
        self._instruments = instruments
        self._tickers = tickers
        self._symbols: dict[str, str] = {}
        self._streams: dict[bytes, _Kind] = {}
        self._last_price: dict[str, float] = {}
        self._venue_time_ns = 0

    def parse(self, raw: bytes, ts_recv_ns: int = 0) -> Parsed | None:
        """One message as an event; None for one that carries no market data that was asked for.

        Raises:
            CodecError: no JSON, or a kind of message that is not known here.
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
            raise _no_json(raw, error) from None
        body = message.data if kind.combined else message
        if kind.name == "bookTicker":
            return self._ticker(body, ts_recv_ns)
        if kind.name == "trade":
            return self._trade(body, ts_recv_ns)
        if kind.name == "depthUpdate":
            ts = self._time(body.E)
            return DepthDiff(self._symbol(body.s), body.U, body.u, body.b, body.a, ts, ts_recv_ns)
        return DepthSnapshot("", body.last_update_id, body.bids, body.asks, ts_recv_ns)

    def _trade(self, raw: _Trade, ts_recv_ns: int) -> TradeEvent:
        symbol = self._symbol(raw.s)
        self._last_price[symbol] = raw.p
        # ``m``: the buyer was the maker, so it was a seller who took.
        side = "sell" if raw.m else "buy"
        return TradeEvent(symbol, raw.p, raw.q, side, self._time(raw.T), str(raw.t), VENUE, ts_recv_ns)  # type: ignore[arg-type]  # a Literal

    def _ticker(self, raw: _BookTicker, ts_recv_ns: int) -> TickerEvent | None:
        symbol = self._symbol(raw.s)
        if not self._tickers:
            return None
        # The venue gives a best bid and ask no time: it stands at the latest time that anything had.
        ts = self._time(raw.E) if raw.E else self._venue_time_ns or ts_recv_ns
        return TickerEvent(symbol, self._last_price.get(symbol, 0.0), raw.b, raw.a, 0.0, ts, VENUE, ts_recv_ns)

    def _time(self, venue_time: int) -> int:
        ts = venue_time * (NS_PER_MS if venue_time < _MICROSECONDS_FROM else 1_000)
        if ts > self._venue_time_ns:
            self._venue_time_ns = ts
        return ts

    def _symbol(self, name: str) -> str:
        symbol = self._symbols.get(name)
        if symbol is None:
            symbol = self._symbols[name] = self._instruments.of_venue_name(name).symbol
        return symbol

    def _kind(self, raw: bytes) -> _Kind | None:
        if raw.startswith(_STREAM_KEY):
            stream = raw[len(_STREAM_KEY) : raw.find(b'"', len(_STREAM_KEY))]
            found = self._streams.get(stream)
            if found is None:
                found = self._streams[stream] = _of_stream(stream.decode("utf-8", "replace"), raw)
            return found
        if raw.startswith(_SNAPSHOT_KEY):
            return _SNAPSHOT
        return _probed(raw)

    def _lenient(self, kind: _Kind, raw: bytes, error: msgspec.ValidationError) -> Any:
        """The message again without minding fields that are new to us."""
        try:
            message = kind.lenient.decode(raw)
        except msgspec.DecodeError as second:
            raise ContractError(f"Binance {kind.name}: {second} in {_shown(raw)}") from None
        self.unknown_fields[f"{kind.name}: {error}"] += 1
        return message


def _of_stream(stream: str, raw: bytes) -> _Kind:
    channel = stream.partition("@")[2].partition("@")[0]
    found = _STREAMS.get(channel)
    if found is None:
        raise CodecError(
            f"Binance stream {stream!r}: expected one of <symbol>@{', @'.join(_STREAMS)} in {_shown(raw)}. "
            "Record these channels, or leave the line out."
        )
    return found


def _probed(raw: bytes) -> _Kind | None:
    try:
        probe = _probe.decode(raw)
    except msgspec.ValidationError as error:
        raise ContractError(f"Binance: {error} in {_shown(raw)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _no_json(raw, error) from None
    if probe.stream is not None:
        return _of_stream(probe.stream, raw)
    if probe.last_update_id is not None:
        return _SNAPSHOT
    if probe.e is not None and probe.e in _BARE:
        return _BARE[probe.e]
    if probe.e is None and probe.s is not None and probe.u is not None:
        return _BARE["bookTicker"]
    if probe.e is None and probe.s is None and probe.id is not None:
        return None  # the answer to a subscription
    raise CodecError(f"Binance: expected one of {', '.join(_BARE)}, got {probe.e!r} in {_shown(raw)}")


def _no_json(raw: bytes, error: Exception) -> RejectedError:
    return CodecError(f"expected a complete JSON object, got {_shown(raw)}: {error}")


def _shown(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
