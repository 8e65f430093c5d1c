"""The lines of a ledger's file: each is a transaction that carries its own hash; they are written, found and read here.

Lines are ordered by their number, so any of them is found without reading those before it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from core import codec, contracts
from core.contracts import Contract
from core.entries import EntryId, entry_id_of
from core.errors import LedgerCorruptError, RejectedError
from core.journal.files import last_line
from core.topics import row_of, topic_of

LOCAL: Final = "local."  # the topic prefix of events that never leave their daemon
LOCAL_CONTRACTS: Final[dict[str, type[Contract]]] = {
    LOCAL + contract.__name__: contract
    for contract in (contracts.KillSwitchEvent, contracts.JournalHealth, contracts.StreamGap)
}
_IDENTITY: Final = 16  # characters of the first transaction's hash that name a ledger
_HASH: Final = b',"hash":"'
_WHOLE: Final = re.compile(rb'(?P<body>\{.*),"hash":"(?P<hash>[0-9a-f]{64})"\}')
_NUMBERED: Final = re.compile(rb'\{"seq":([1-9][0-9]{0,17}),')
_NEAR: Final = 64 * 1024  # bytes within which a line is looked for one by one
_UNREADABLE: Final = (RejectedError, ValueError, RecursionError)  # of JSON in another shape


class Cause(NamedTuple):
    """The cause of a transaction: an entry ``id`` of a producer's ``stream``, with the event when it was durable.

    For market data the stream is the topic and the id names the event; neither event nor topic is kept. An
    entry that was unreadable has its topic and no event. ``ledger`` is the identity of the producer's ledger, kept
    with the first entry that came from it.
    """

    stream: str
    id: str
    topic: str = ""
    event: Contract | None = None
    ledger: str = ""

    @property
    def entry(self) -> EntryId | None:
        """The position in a producer's stream, or None when the cause was a broadcast or local."""
        if not self.topic or self.topic.startswith(LOCAL):
            return None
        return entry_id_of(self.id)


class Transaction(NamedTuple):
    """One line of a ledger, read back."""

    seq: int
    ts_ns: int
    cause: Cause
    events: tuple[tuple[str, Contract], ...]
    hash: str
    note: str = ""


class Place(NamedTuple):
    """Behind a transaction: its number, its hash, and the byte at which the next one begins."""

    seq: int
    hash: str
    offset: int


class _PlainCause(msgspec.Struct):
    stream: str
    id: str
    topic: str = ""
    ledger: str = ""
    event: msgspec.Raw = msgspec.Raw()


class _PlainEvent(msgspec.Struct):
    topic: str
    event: msgspec.Raw


class _PlainTransaction(msgspec.Struct):
    seq: int
    ts_ns: int
    cause: _PlainCause
    events: list[_PlainEvent]
    prev: str
    note: str = ""


_decoder: Final = msgspec.json.Decoder(_PlainTransaction)


def daemon_of(path: Path) -> str:
    """The daemon whose ledger a file is, by its name."""
    return path.name.partition(".")[0]


def genesis(name: str) -> str:
    """The ``prev`` of the first transaction; it differs by ledger, so files cannot be swapped unseen."""
    return hashlib.sha256(f"njord ledger {name}".encode()).hexdigest()


def beginning(path: Path) -> Place:
    """Before the first transaction."""
    return Place(0, genesis(daemon_of(path)), 0)


def identity_of(first_hash: str) -> str:
    """The identity of a ledger: the hash of its first transaction, shortened.

    The same input gives the same identity, and a ledger that was begun anew has another.
    """
    return first_hash[:_IDENTITY]


def topic_for(event: Contract) -> str:
    """The event's topic, or its local name when it never leaves the daemon."""
    local = f"{LOCAL}{type(event).__name__}"
    return local if local in LOCAL_CONTRACTS else topic_of(event)


def line_of(seq: int, ts_ns: int, cause: Cause, events: Sequence[Contract], prev: str, note: str) -> tuple[bytes, str]:
    """A transaction as a line without its newline, and its hash."""
    caused: dict[str, Any] = {"stream": cause.stream, "id": cause.id}
    if cause.topic:
        caused["topic"] = cause.topic
    if cause.ledger:
        caused["ledger"] = cause.ledger
    if cause.event is not None:
        caused["event"] = cause.event
    body: dict[str, Any] = {
        "seq": seq,
        "ts_ns": ts_ns,
        "cause": caused,
        "events": [{"topic": topic_for(event), "event": event} for event in events],
        "prev": prev,
    }
    if note:
        body["note"] = note
    return seal(codec.encode_plain(body))


def seal(body: bytes) -> tuple[bytes, str]:
    """A JSON object with its own SHA-256 added as its last field, and that hash."""
    digest = hashlib.sha256(body).hexdigest()
    return b'%b%b%b"}' % (body[:-1], _HASH, digest.encode()), digest


def unseal(line: bytes) -> str | None:
    """The hash of a sealed line; None when the line does not match it."""
    body, mark, tail = line.rpartition(_HASH)
    digest = _digest(body)
    return digest.decode() if mark and tail == b'%b"}' % digest else None


def read(path: Path, place: Place | None = None) -> Iterator[Transaction]:
    """The transactions of a ledger in order, each verified before it is handed on.

    A last line without its newline is not part of the ledger: it was never acknowledged.

    Args:
        path: the ledger.
        after: where to start, the first transaction when left out; the chain is verified from there.

    Raises:
        LedgerCorruptError: a line is unreadable or breaks the chain; names file and line.
    """
    start = place or beginning(path)
    prev, number = start.hash, start.seq
    if not path.exists():
        return
    with path.open("rb") as lines:
        lines.seek(start.offset)
        for line in lines:
            number += 1
            if not line.endswith(b"\n"):
                refuse_changed_tail(path, number, line)
                return
            transaction = _parse(path, number, line[:-1], prev)
            prev = transaction.hash
            yield transaction


def first_identity(path: Path) -> str:
    """The identity of a ledger, read from its first line alone; empty when it has none.

    Raises:
        LedgerCorruptError: that line does not match its hash.
    """
    if not path.exists():
        return ""
    with path.open("rb") as file:
        line = file.readline()
    if not line.endswith(b"\n"):
        return ""
    digest = unseal(line[:-1])
    if digest is None:
        raise LedgerCorruptError(path, 1, "the line does not match its own hash")
    return identity_of(digest)


def stands_at(path: Path, place: Place) -> bool:
    """Whether the ledger has that very transaction ending at that very byte."""
    if place.seq == 0:
        return place == beginning(path)
    if not path.exists():
        return False
    with path.open("rb") as file:
        if place.offset > os.fstat(file.fileno()).st_size:
            return False
        end, line = last_line(file.fileno(), place.offset)
    if end != place.offset or line is None or unseal(line) != place.hash:
        return False
    return _number(line) == place.seq


def place_before(path: Path, seq: int) -> Place:
    """The place before a transaction, or behind the last one when there are not so many.

    Found by halving; from lines that are not what they should be it returns the beginning, so that reading names them.
    """
    start = beginning(path)
    if seq <= 1 or not path.exists():
        return start
    with path.open("rb") as file:
        end, last = last_line(file.fileno(), os.fstat(file.fileno()).st_size)
        try:
            if last is None:
                return start
            number, digest = _number(last), unseal(last)
            if digest is not None and number < seq:
                return Place(number, digest, end)
            return _halved(file, seq, end)
        except _UNREADABLE:
            return start


def torn_tail(path: Path) -> bytes:
    """The bytes behind the last newline of a ledger."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        end, _ = last_line(file.fileno(), os.fstat(file.fileno()).st_size)
        file.seek(end)
        return file.read()


def is_whole(line: bytes) -> bool:
    """Whether nothing is missing of a transaction but its newline."""
    return _WHOLE.fullmatch(line) is not None


def refuse_changed_tail(path: Path, number: int, tail: bytes) -> None:
    """Raise LedgerCorruptError: a crash cuts a write short, it never leaves a whole transaction with anything but a
    newline behind it."""
    transaction = _WHOLE.match(tail)
    if transaction and transaction.end() < len(tail) and _digest(transaction["body"]) == transaction["hash"]:
        raise LedgerCorruptError(
            path, number, f"expected a newline behind the transaction, got {tail[transaction.end() :]!r}"
        )


def count_lines(path: Path) -> int:
    """The number of whole lines of a ledger."""
    with path.open("rb") as file:
        return sum(1 for line in file if line.endswith(b"\n"))


def _halved(file: IO[bytes], seq: int, end: int) -> Place:
    """The place before a transaction that is there."""
    low, high = 0, end  # the line at ``low`` is not behind the wanted one, every line from ``high`` on is
    while high - low > _NEAR:
        middle = (low + high) // 2
        file.seek(middle - 1)
        at = middle - 1 + len(file.readline())
        if at >= high or _number(file.readline()) > seq:
            high = middle
        else:
            low = at
    file.seek(low)
    for line in file:
        if _number(line) == seq:
            return Place(seq - 1, _decoder.decode(line[:-1]).prev, low)
        low += len(line)
    raise ValueError(f"no transaction {seq}")


def _number(line: bytes) -> int:
    match = _NUMBERED.match(line)
    if match is None:
        raise ValueError(f"expected a transaction, got {line[:40]!r}")
    return int(match[1])


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body + b"}").hexdigest().encode()


def _parse(path: Path, number: int, line: bytes, prev: str) -> Transaction:
    digest = unseal(line)
    if digest is None:
        raise LedgerCorruptError(path, number, "the line does not match its own hash")
    try:
        decoded = _decoder.decode(line)
        if decoded.prev != prev:
            raise LedgerCorruptError(path, number, f"expected prev {prev[:16]}…, got {decoded.prev[:16]}…")
        if decoded.seq != number:
            raise LedgerCorruptError(path, number, f"expected transaction {number}, got {decoded.seq}")
        events = tuple([(record.topic, _event(record.topic, record.event)) for record in decoded.events])
        return Transaction(number, decoded.ts_ns, _cause(decoded.cause), events, digest, decoded.note)
    except _UNREADABLE as error:
        detail = f"the line matches its hash but cannot be read: {type(error).__name__}: {error}"
        raise LedgerCorruptError(path, number, detail) from error


def _cause(decoded: _PlainCause) -> Cause:
    event = _event(decoded.topic, decoded.event) if memoryview(decoded.event).nbytes else None
    return Cause(decoded.stream, decoded.id, decoded.topic, event, decoded.ledger)


def _event(topic: str, payload: msgspec.Raw) -> Contract:
    contract = LOCAL_CONTRACTS.get(topic)
    return codec.decode(contract or row_of(topic).contract, bytes(payload))
