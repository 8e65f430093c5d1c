"""The one codec: bytes to frozen dataclass and back, typed and strict, on msgspec.

On the wire a message is the contract's own JSON object, followed, when a daemon sent it, by the two
reserved keys ``_producer`` and ``_seq``, by which a receiver sees gaps.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec

from core.contracts import Contract, named_after, refuse_unknown_fields
from core.errors import CodecError, ContractError

C = TypeVar("C", bound=Contract)

_encoder: Final = msgspec.json.Encoder()
_META: Final = b',"_producer":'
_OURS: Final = re.compile(rb'"([a-z_]{1,64})","_seq":(0|[1-9][0-9]{0,17})\}')  # the tail as this fleet writes it
_SHOWN: Final = 120  # characters of an unreadable message that an error quotes


class Meta(NamedTuple):
    """The sender of a message and its number on that producer's topic; ``seq`` 0 when the message names none."""

    producer: str = ""
    seq: int = 0


NO_META: Final = Meta()


class _MetaTail(msgspec.Struct, forbid_unknown_fields=True):
    producer: str = msgspec.field(name="_producer")
    seq: Annotated[int, msgspec.Meta(ge=0)] = msgspec.field(name="_seq")


_tail_decoder: Final = msgspec.json.Decoder(_MetaTail)


_decoders: Final[dict[type[Contract], msgspec.json.Decoder[Any]]] = {}


def _decoder(contract: type[C]) -> msgspec.json.Decoder[C]:
    decoder = _decoders.get(contract)
    if decoder is None:
        decoder = _decoders[contract] = msgspec.json.Decoder(contract)
    return decoder


def encode(event: Contract) -> bytes:
    """The event as one line of JSON without a newline; the same event always gives the same bytes."""
    return _encoder.encode(event)


def encode_lines(events: Iterable[Contract]) -> bytes:
    """The lines of many events, each ended by a newline."""
    return _encoder.encode_lines(events)


def encode_plain(value: Any) -> bytes:
    """Plain JSON values as bytes."""
    return _encoder.encode(value)


def decode_plain(data: bytes | str) -> Any:
    """Bytes as plain JSON values. Raises CodecError."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CodecError(f"expected JSON, got {_shown(data)}: {error}") from None


def decode(contract: type[C], data: bytes) -> C:
    """Bytes as a contract.

    Raises:
        CodecError: the bytes are no JSON object.
        ContractError: an unknown or missing field, a wrong type, a value outside its range.
    """
    try:
        event = _decoder(contract).decode(data)
    except msgspec.ValidationError as error:
        raise ContractError(f"{named_after(contract, error)} in {_shown(data)}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CodecError(f"{contract.__name__}: expected a JSON object, got {_shown(data)}: {error}") from None
    # msgspec skips fields that a dataclass does not know and takes the last of two equal keys. What we encode
    # ourselves is canonical, so equal bytes prove that there was neither; anything else is looked at in full.
    if _encoder.encode(event) != data:
        refuse_unknown_fields(contract, _each_key_once(contract, data))
    return event


def encode_message(event: Contract, meta: Meta) -> bytes:
    """The event with its producer and sequence, as it goes over the wire."""
    return b'%b,"_producer":"%b","_seq":%d}' % (_encoder.encode(event)[:-1], meta.producer.encode(), meta.seq)


def decode_message(contract: type[C], data: bytes) -> tuple[C, Meta]:
    """A message off the wire and what is known of its sender. Raises as ``decode`` does."""
    body, marker, tail = data.rpartition(_META)
    if not marker:
        return decode(contract, data), NO_META
    ours = _OURS.fullmatch(tail)
    if ours is not None:
        return decode(contract, body + b"}"), Meta(ours[1].decode(), int(ours[2]))
    try:
        foreign = _tail_decoder.decode(b'{"_producer":' + tail)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        # The marker stood inside a string of the event.
        return decode(contract, data), NO_META
    return decode(contract, body + b"}"), Meta(foreign.producer, foreign.seq)


def _each_key_once(contract: type[Contract], data: bytes) -> dict[str, Any]:
    """The plain values of a message. Raises ContractError when a key comes twice, at whatever depth."""

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = sorted({key for key in keys if keys.count(key) > 1})
            raise ContractError(f"{contract.__name__}: expected every field once, got {', '.join(twice)} twice")
        return values

    try:
        values: dict[str, Any] = json.loads(data, object_pairs_hook=checked)
    except ContractError:
        raise
    except (ValueError, RecursionError) as error:  # in a field that the contract does not know
        raise CodecError(f"{contract.__name__}: {error} in {_shown(data)}") from None
    return values


def _shown(data: bytes | str) -> str:
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
