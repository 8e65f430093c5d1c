"""A daemon's ledger: the hash-chained, append-only file that its durable state is a fold over.

One line is one transaction: the message that was processed (``cause``) and everything the component
answered (``events``). It is on disk before anything it says leaves the process. Each line carries the
SHA-256 of itself without the hash; the next line repeats it as ``prev``, so an edit anywhere shows.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from core import codec, contracts
from core.component import Message
from core.contracts import Contract
from core.disk import OS_DISK, Disk
from core.errors import JournalWriteError, LedgerCorruptError, RejectedError
from core.journal import NdjsonJournal
from core.journal_files import last_line
from core.topics import Delivery, row_of, topic_of

LOCAL: Final = "local."  # the topic prefix of events that never leave their daemon
LOCAL_CONTRACTS: Final[dict[str, type[Contract]]] = {
    LOCAL + contract.__name__: contract for contract in (contracts.KillSwitchEvent, contracts.JournalHealth)
}
KEPT_BYTES: Final = 1024 * 1024  # of transactions that answered nothing, before they are synced for their own sake
_IDENTITY: Final = 16  # characters of the first transaction's hash that name a ledger
_HASH: Final = b',"hash":"'
_WHOLE: Final = re.compile(rb'(?P<body>\{.*),"hash":"(?P<hash>[0-9a-f]{64})"\}')
_UNREADABLE: Final = (RejectedError, KeyError, TypeError, ValueError, AttributeError)  # of JSON in another shape


class Cause(NamedTuple):
    """What a transaction answers: an entry ``id`` of a producer's ``stream``, with the event when it was durable.

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
    def entry(self) -> tuple[int, int] | None:
        """The position in a producer's stream, or None when the cause was a broadcast or local."""
        if not self.topic or self.topic.startswith(LOCAL):
            return None
        transaction, _, index = self.id.partition("-")
        return int(transaction), int(index)


class Transaction(NamedTuple):
    """One line of a ledger, read back."""

    seq: int
    ts_ns: int
    cause: Cause
    events: tuple[tuple[str, Contract], ...]
    hash: str
    note: str = ""


@dataclass(frozen=True)
class LedgerReport:
    """What a verification found in a sound ledger. ``torn_bytes`` at its end are no transaction: a crash cut a
    write off that was never acknowledged. The daemon moves them aside when it starts."""

    path: Path
    transactions: int
    events: int
    last_hash: str
    torn_bytes: int = 0


def genesis(name: str) -> str:
    """The ``prev`` of the first transaction; it differs by ledger, so files cannot be swapped unseen."""
    return hashlib.sha256(f"njord ledger {name}".encode()).hexdigest()


def identity_of(first_hash: str) -> str:
    """What names a ledger: the hash of its first transaction, shortened. The same input gives the same name, and one
    that was begun anew has another."""
    return first_hash[:_IDENTITY]


def topic_for(event: Contract) -> str:
    """The event's topic, or its local name when it never leaves the daemon."""
    local = f"{LOCAL}{type(event).__name__}"
    return local if local in LOCAL_CONTRACTS else topic_of(event)


class Ledger:
    """The one writer of a ledger file. Opening repairs a torn tail; ``replay`` verifies the whole chain.

    What a killed process had written but not synced is found here, and counts as committed: so opening waits for the
    disk with it before anybody can hear of it.

    Raises:
        LedgerCorruptError: the chain does not hold.
        FencedError: another process writes this ledger.
        JournalWriteError: on opening and on ``commit``, when the disk refuses; nothing may leave the process then.
    """

    def __init__(self, path: Path, *, durable: bool = True, disk: Disk = OS_DISK) -> None:
        self.path = path
        self.name = path.name.partition(".")[0]
        self._durable = durable
        self._prev = genesis(self.name)
        self.seq = 0
        self.committed = 0
        self.identity = ""
        self._synced = 0  # the last transaction that the disk itself has confirmed
        self._answered = False  # something that waits for ``commit`` tells others anything
        tail = torn_tail(path)
        if tail:
            _refuse_changed_tail(path, _lines(path) + 1, tail)
        self._journal = NdjsonJournal(path, rotate_bytes=0, daily=False, disk=disk, rewrites=durable)
        try:
            if self._journal.repaired and _WHOLE.fullmatch(tail):
                # Only the newline is missing: as good as written, and dropping it would lose what others may have seen.
                self._journal.append(tail)
                self._journal.flush()
            if durable:
                self._journal.sync()
        except BaseException:
            self._journal.abandon()
            raise

    def replay(self) -> Iterator[Transaction]:
        """Every transaction so far, verified. Read it to the end before the first ``append``."""
        for transaction in read(self.path):
            self.seq = self.committed = self._synced = transaction.seq
            self._prev = transaction.hash
            self.identity = self.identity or identity_of(transaction.hash)
            yield transaction

    def append(self, ts_ns: int, cause: Cause, events: Sequence[Contract], note: str = "") -> int:
        """Add a transaction and return its number. It is durable only after ``commit``.

        Raises:
            JournalWriteError: too much waits for a disk that refuses; the transaction was not taken.
        """
        line, digest = _line(self.seq + 1, ts_ns, cause, events, self._prev, note)
        self._journal.append(line, ts_ns)
        self.seq, self._prev = self.seq + 1, digest
        self.identity = self.identity or identity_of(digest)
        self._answered = self._answered or bool(events)
        return self.seq

    def commit(self) -> None:
        """Make everything appended durable: one write, one fdatasync. Does nothing when nothing waits.

        Transactions that answered nothing are handed to the operating system and synced with the next that did:
        nobody knows of them, and if the machine loses them their causes are delivered again.

        After a refusal the same lines are tried again by the next call, in the same order: no other transaction ever
        takes their numbers, unless the ledger is abandoned and opened anew, and then the file says which of them are.
        """
        if self.committed == self.seq:
            return
        if self._durable and (self._answered or self._journal.kept_bytes > KEPT_BYTES):
            self.sync()
        else:
            self._journal.flush()
            self.committed = self.seq

    def sync(self) -> None:
        """Wait until the disk has every transaction, also those that answered nothing. Raises JournalWriteError."""
        try:
            self._journal.sync()
        except JournalWriteError:
            self.committed = self._synced  # a failed sync takes back what was only handed over, too
            self._answered = True
            raise
        self._answered = False
        self.committed = self._synced = self.seq

    def abandon(self) -> None:
        """Release the file as a crash does: what is not committed never happened."""
        self._journal.abandon()

    def close(self) -> None:
        """Commit, wait for the disk with what was only handed to the operating system, and release the file."""
        self.commit()
        if self._durable and self._synced < self.seq:
            self.sync()
        self._journal.close()


def read(path: Path) -> Iterator[Transaction]:
    """The transactions of a ledger in order, each verified before it is handed on.

    A last line without its newline is not part of the ledger: it was never acknowledged.

    Raises:
        LedgerCorruptError: a line is unreadable or breaks the chain; names file and line.
    """
    prev, expected = genesis(path.name.partition(".")[0]), 1
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                _refuse_changed_tail(path, number, line)
                return
            transaction = _parse(path, number, line[:-1], prev, expected)
            prev, expected = transaction.hash, expected + 1
            yield transaction


def verify(path: Path) -> LedgerReport:
    """Check every line and the chain. Raises LedgerCorruptError at the first one that is wrong."""
    count, events, last = 0, 0, genesis(path.name.partition(".")[0])
    for transaction in read(path):
        count, events, last = transaction.seq, events + len(transaction.events), transaction.hash
    return LedgerReport(path, count, events, last, len(torn_tail(path)))


def torn_tail(path: Path) -> bytes:
    """What stands behind the last newline of a ledger."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        end, _ = last_line(file.fileno(), os.fstat(file.fileno()).st_size)
        file.seek(end)
        return file.read()


def _refuse_changed_tail(path: Path, number: int, tail: bytes) -> None:
    """A crash cuts a write short: it never leaves a whole transaction with anything but a newline behind it."""
    whole = _WHOLE.match(tail)
    if whole and whole.end() < len(tail) and _digest(whole["body"]) == whole["hash"]:
        raise LedgerCorruptError(
            path, number, f"expected a newline behind the transaction, got {tail[whole.end() :]!r}"
        )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.endswith(b"\n"))


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body + b"}").hexdigest().encode()


def messages_after(path: Path, producer: str, after: tuple[int, int]) -> Iterator[Message]:
    """The ledger-class messages of a ledger behind an entry, as they were or would have been sent."""
    prev, identity = (0, 0), ""
    for transaction in read(path):
        identity = identity or identity_of(transaction.hash)
        for message in outgoing(producer, transaction, prev, identity):
            if message.entry > after:
                yield message
            prev = message.entry


def outgoing(
    producer: str, transaction: Transaction, prev: tuple[int, int] = (0, 0), identity: str = ""
) -> Iterator[Message]:
    """The ledger-class events of a transaction as messages behind the entry ``prev`` of the ledger of that identity."""
    for index, (topic, event) in enumerate(transaction.events):
        if not topic.startswith(LOCAL) and row_of(topic).delivery is Delivery.LEDGER:
            place = (transaction.seq, index)
            yield Message(topic, event, producer, transaction.seq, place, prev, identity)
            prev = place


def _line(seq: int, ts_ns: int, cause: Cause, events: Sequence[Contract], prev: str, note: str) -> tuple[bytes, str]:
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
    raw = codec.encode_plain(body)
    digest = hashlib.sha256(raw).hexdigest()
    return b'%b%b%b"}' % (raw[:-1], _HASH, digest.encode()), digest


def _parse(path: Path, number: int, line: bytes, prev: str, expected: int) -> Transaction:
    body, mark, tail = line.rpartition(_HASH)
    digest = _digest(body)
    if not mark or tail != b'%b"}' % digest:
        raise LedgerCorruptError(path, number, "the line does not match its own hash")
    try:
        plain = codec.decode_plain(line)
        if plain["prev"] != prev:
            raise LedgerCorruptError(path, number, f"expected prev {prev[:16]}…, got {plain['prev'][:16]}…")
        if plain["seq"] != expected:
            raise LedgerCorruptError(path, number, f"expected transaction {expected}, got {plain['seq']}")
        cause = _cause(plain["cause"])
        events = tuple((each["topic"], _event(each["topic"], each["event"])) for each in plain["events"])
        return Transaction(expected, plain["ts_ns"], cause, events, digest.decode(), plain.get("note", ""))
    except _UNREADABLE as error:
        detail = f"the line matches its hash but cannot be read: {type(error).__name__}: {error}"
        raise LedgerCorruptError(path, number, detail) from error


def _cause(plain: dict[str, Any]) -> Cause:
    topic = plain.get("topic", "")
    event = _event(topic, plain["event"]) if "event" in plain else None
    return Cause(plain["stream"], plain["id"], topic, event, plain.get("ledger", ""))


def _event(topic: str, payload: dict[str, Any]) -> Contract:
    contract = LOCAL_CONTRACTS.get(topic)
    return (contract or row_of(topic).contract).from_dict(payload)
