"""Binance's spot messages as schemas, and the ways to tell which kind a message is.

The schema checks numbers while decoding (finite, above zero), so that what comes out needs no second look. A message of
another market or another venue is refused with what it is and what to record instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from core.errors import CodecError, ContractError, RejectedError

_MAX_NUMBER: Final = 1e18  # above any price or quantity; keeps infinity out
_SHOWN: Final = 120  # characters of a bad message that an error quotes

Above0 = Annotated[float, Meta(gt=0, lt=_MAX_NUMBER)]
AtLeast0 = Annotated[float, Meta(ge=0, lt=_MAX_NUMBER)]
Count = Annotated[int, Meta(ge=0)]
RawLevel = tuple[Above0, AtLeast0]


class RawTrade(Struct, gc=False):
    """A message of ``@trade``. ``X``, the kind of trade, is only there in futures."""

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
    X: str | None = None


class RawDepth(Struct, gc=False):
    """A message of ``@depth``. ``pu``, the update before, is only there in futures."""

    s: str
    U: Count
    u: Count
    b: list[RawLevel]
    a: list[RawLevel]
    E: Annotated[int, Meta(gt=0)]
    e: str = ""
    T: int = 0
    pu: int | None = None


class RawBookTicker(Struct, gc=False):
    """A message of ``@bookTicker``. Event and times are only there in futures."""

    u: Count
    s: str
    b: Above0
    B: AtLeast0
    a: Above0
    A: AtLeast0
    e: str = ""
    E: int = 0
    T: int = 0


class RawSnapshot(Struct, gc=False):
    """The answer of REST's ``depth``. Times are only there in futures."""

    last_update_id: Count = msgspec.field(name="lastUpdateId")
    bids: list[RawLevel]
    asks: list[RawLevel]
    E: int = 0
    T: int = 0


class _StrictTrade(RawTrade, forbid_unknown_fields=True):
    pass


class _StrictDepth(RawDepth, forbid_unknown_fields=True):
    pass


class _StrictBookTicker(RawBookTicker, forbid_unknown_fields=True):
    pass


class _StrictSnapshot(RawSnapshot, forbid_unknown_fields=True):
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
class MessageKind:
    """The decoders of one kind of message: ``strict`` first, ``lenient`` for one with fields that are new to us."""

    name: str
    strict: msgspec.json.Decoder[Any]
    lenient: msgspec.json.Decoder[Any]
    combined: bool = False


def _bare(name: str, strict: Any, lenient: Any) -> MessageKind:
    return MessageKind(name, msgspec.json.Decoder(strict, strict=False), msgspec.json.Decoder(lenient, strict=False))


def _combined(name: str, strict: Any, lenient: Any) -> MessageKind:
    return MessageKind(
        name,
        msgspec.json.Decoder(_Combined[strict], strict=False),
        msgspec.json.Decoder(_Combined[lenient], strict=False),
        combined=True,
    )


_TRADE: Final = ("trade", _StrictTrade, RawTrade)
_DEPTH: Final = ("depthUpdate", _StrictDepth, RawDepth)
_TICKER: Final = ("bookTicker", _StrictBookTicker, RawBookTicker)
_BARE: Final = {row[0]: _bare(*row) for row in (_TRADE, _DEPTH, _TICKER)}
_STREAMS: Final = {"trade": _combined(*_TRADE), "depth": _combined(*_DEPTH), "bookTicker": _combined(*_TICKER)}
SNAPSHOT: Final = _bare("snapshot", _StrictSnapshot, RawSnapshot)
_probe: Final = msgspec.json.Decoder(_Probe, strict=False)

_RECORD: Final = f"Record the spot streams <symbol>@{', @'.join(_STREAMS)}"
_AGGREGATES: Final = (
    "aggregate trades: several trades under one id that counts something else, so that missing trades cannot be told. "
    "Record <symbol>@trade instead"
)
_OTHER_VENUES: Final = (  # keys of a message that are never Binance's, and whose they are
    (b'"coin":', "Hyperliquid"),
    (b'"topic":', "Bybit"),
    (b'"product_id":', "Coinbase"),
    (b'"instId":', "OKX"),
    (b'"channel":', "another venue"),
)


def kind_of_stream(stream: str, raw: bytes) -> MessageKind:
    """The kind of a combined message by its stream's name. Raises CodecError for a stream that is not read."""
    channel = stream.partition("@")[2].partition("@")[0]
    kind = _STREAMS.get(channel)
    if kind is not None:
        return kind
    if channel == "aggTrade":
        raise CodecError(f"Binance stream {stream!r} has {_AGGREGATES}")
    raise CodecError(
        f"Binance stream {stream!r}: expected one of <symbol>@{', @'.join(_STREAMS)} in {shown(raw)}. "
        "Record these channels, or leave the line out"
    )


def kind_by_content(raw: bytes) -> MessageKind | None:
    """The kind of a message by what is in it; None for the answer to a subscription.

    Raises:
        CodecError: no JSON, or a kind of message that is not read here.
        ContractError: a field of the wrong type.
    """
    try:
        probe = _probe.decode(raw)
    except msgspec.ValidationError as error:
        if (venue := other_venue(raw)) is not None:
            raise _foreign(venue, raw) from None
        raise ContractError(f"Binance: {error} in {shown(raw)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise no_json(raw, error) from None
    if probe.stream is not None:
        return kind_of_stream(probe.stream, raw)
    if probe.last_update_id is not None:
        return SNAPSHOT
    if probe.e is not None and probe.e in _BARE:
        return _BARE[probe.e]
    if probe.e == "aggTrade":
        raise CodecError(f"Binance message 'aggTrade' has {_AGGREGATES}")
    if probe.e is None and probe.s is not None and probe.u is not None:
        return _BARE["bookTicker"]
    if probe.e is None and probe.s is None and probe.id is not None:
        return None
    if probe.e is None and (venue := other_venue(raw)) is not None:
        raise _foreign(venue, raw)
    raise CodecError(f"Binance: expected one of {', '.join(_BARE)}, got {probe.e!r} in {shown(raw)}")


def futures_message(name: str, field: str, venue_symbol: str = "") -> RejectedError:
    """The error for a message of Binance's futures, known by a field that spot does not have."""
    if "_" in venue_symbol:
        return coin_margined(venue_symbol)
    return CodecError(
        f"Binance {name} with the field `{field}` is of USD-M futures, expected spot: a future is another instrument "
        f"than the pair of that name, with other prices and update ids. {_RECORD} of wss://stream.binance.com"
    )


def coin_margined(venue_symbol: str) -> RejectedError:
    """The error for the name of a coin-margined or dated future, such as ``BTCUSD_PERP``."""
    return CodecError(
        f"Binance {venue_symbol!r} is a coin-margined (COIN-M) or dated future, expected a spot pair: its quantities "
        f"are contracts, not currency. {_RECORD} of wss://stream.binance.com"
    )


def no_json(raw: bytes, error: Exception) -> RejectedError:
    """The error for a message that is no JSON."""
    return CodecError(f"expected a complete JSON object, got {shown(raw)}: {error}")


def shown(raw: bytes) -> str:
    """The beginning of a message, for an error."""
    text = raw.decode("utf-8", "replace")
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def other_venue(raw: bytes) -> str | None:
    """The venue that a message seems to be of, by a key that Binance's have not; None when there is none."""
    return next((venue for key, venue in _OTHER_VENUES if key in raw), None)


def _foreign(venue: str, raw: bytes) -> RejectedError:
    return CodecError(f"a message of {venue}, expected one of Binance's spot market, got {shown(raw)}. {_RECORD}")
