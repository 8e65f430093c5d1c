"""A daemon's ledger: the hash-chained, append-only file that its durable state is a fold over.

One line is one transaction: the message that was processed (``cause``) and everything the component
answered (``events``). It is on disk before anything it says leaves the process. Each line carries the
SHA-256 of itself without the hash; the next line repeats it as ``prev``, so an edit anywhere shows.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.component import Message
from core.contracts import Contract
from core.disk import OS_DISK, Disk
from core.entries import NO_ENTRY, EntryId
from core.errors import JournalWriteError
from core.journal import NdjsonJournal
from core.ledger.lines import (
    LOCAL,
    LOCAL_CONTRACTS,
    Cause,
    Place,
    Transaction,
    count_lines,
    daemon_of,
    first_identity,
    genesis,
    identity_of,
    is_whole,
    line_of,
    place_before,
    read,
    refuse_changed_tail,
    torn_tail,
)
from core.ledger.reserve import Reserve
from core.topics import Delivery, row_of

__all__ = [
    "LOCAL",
    "LOCAL_CONTRACTS",
    "Cause",
    "Ledger",
    "LedgerReport",
    "Place",
    "Transaction",
    "genesis",
    "identity_of",
    "messages_after",
    "outgoing",
    "read",
    "torn_tail",
    "verify",
]

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
KEPT_BYTES: Final = 1024 * 1024  # of transactions that answered nothing, before they are synced for their own sake
UNSURE_BYTES: Final = 4 * 1024 * 1024
"""How much of a ledger's end is written again on opening: more than can have been waiting for a sync that failed."""
_FURTHER_BACK: Final = 8  # times as far, when there is no message before the one asked for


@dataclass(frozen=True)
class LedgerReport:
    """The verification of a sound ledger. ``torn_bytes`` at its end are no transaction: a crash cut a
    write off that was never acknowledged. The daemon moves them aside when it starts."""

    path: Path
    transactions: int
    events: int
    last_hash: str
    torn_bytes: int = 0


class Ledger:
    """The one writer of a ledger file. Opening repairs a torn tail; ``replay`` verifies the whole chain.

    What a killed process had written but not synced is found here, and counts as committed: so opening waits for the
    disk with it before anybody can hear of it. It writes it again before, for the killed process may have been told
    that a sync failed, after which the system takes for clean what never reached the disk.

    Raises:
        LedgerCorruptError: the chain does not hold.
        FencedError: another process writes this ledger.
        JournalWriteError: on opening and on ``commit``, when the disk refuses; nothing may leave the process then.
    """

    def __init__(self, path: Path, *, durable: bool = True, disk: Disk = OS_DISK, reserve_bytes: int = 0) -> None:
        """Open for appending.

        Args:
            path: the file.
            durable: whether ``commit`` waits for the disk.
            disk: what the file is written through.
            reserve_bytes: how much of the disk is kept in ``{name}.reserve`` and given up when it is full.
        """
        self.path = path
        self.name = daemon_of(path)
        self.durable = durable
        self.disk = disk
        self._prev = genesis(self.name)
        self.seq = 0
        self.committed = 0
        self.identity = ""
        self.ts_ns = 0  # of the last transaction
        self._synced = 0  # the last transaction that the disk itself has confirmed
        self._answered = False  # something that waits for ``commit`` tells others anything
        self._reserve = Reserve(path.with_name(f"{self.name}.reserve"), reserve_bytes, disk)
        self._journal = self._opened(disk)
        try:
            self._reserve.take()
        except BaseException:
            self._journal.abandon()
            raise

    def _opened(self, disk: Disk) -> NdjsonJournal:
        tail = torn_tail(self.path)
        if tail:
            refuse_changed_tail(self.path, count_lines(self.path) + 1, tail)
        journal = NdjsonJournal(self.path, rotate_bytes=0, daily=False, disk=disk, rewrites=self.durable)
        try:
            if journal.repaired and is_whole(tail):
                # Only the newline is missing: as good as written, and dropping it would lose what others may have seen.
                journal.append(tail)
                journal.flush()
            if self.durable:
                journal.sync_anew(UNSURE_BYTES)
        except BaseException:
            journal.abandon()
            raise
        return journal

    @property
    def strained(self) -> bool:
        """Whether the reserve is used up: the disk is full, and nothing but what reduces risk should be done."""
        return self._reserve.strained

    def refresh_reserve(self) -> bool:
        """Keep space for the next time the disk is full, if it has any; whether the reserve is there."""
        return self._reserve.take()

    @property
    def place(self) -> Place:
        """Behind the last transaction. Ask when everything is committed."""
        return Place(self.seq, self._prev, self._journal.size)

    def replay(self, place: Place | None = None) -> Iterator[Transaction]:
        """Every transaction so far, or those behind a place, verified. Read it to the end before the first ``append``.

        Raises:
            LedgerCorruptError: the chain does not hold.
        """
        if place is not None:
            self.seq = self.committed = self._synced = place.seq
            self._prev = place.hash
        self.identity = first_identity(self.path)
        for transaction in read(self.path, place):
            self.seq = self.committed = self._synced = transaction.seq
            self._prev, self.ts_ns = transaction.hash, transaction.ts_ns
            yield transaction

    def append(self, ts_ns: int, cause: Cause, events: Sequence[Contract], note: str = "") -> int:
        """Add a transaction and return its number. It is durable only after ``commit``.

        Raises:
            JournalWriteError: too much waits for a disk that refuses; the transaction was not taken.
        """
        line, digest = line_of(self.seq + 1, ts_ns, cause, events, self._prev, note)
        self._on_reserve(lambda: self._journal.append(line, ts_ns))
        self.seq, self._prev, self.ts_ns = self.seq + 1, digest, ts_ns
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
        if self.committed != self.seq:
            self._on_reserve(self._commit)

    def _commit(self) -> None:
        if self.durable and (self._answered or self._journal.kept_bytes > KEPT_BYTES):
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

    def _on_reserve(self, effect: Callable[[], None]) -> None:
        """Do it; on a full disk give up the reserve and try once more."""
        try:
            effect()
        except JournalWriteError as error:
            if error.cause.errno not in _FULL or not self._reserve.free():
                raise
            effect()

    def abandon(self) -> None:
        """Release the file as a crash does: what is not committed never happened."""
        self._journal.abandon()

    def close(self) -> None:
        """Commit, wait for the disk with what was only handed to the operating system, and release the file."""
        self.commit()
        if self.durable and self._synced < self.seq:
            self.sync()
        self._journal.close()


def verify(path: Path) -> LedgerReport:
    """Check every line and the chain. Raises LedgerCorruptError at the first one that is wrong."""
    count, events, last = 0, 0, genesis(daemon_of(path))
    for transaction in read(path):
        count, events, last = transaction.seq, events + len(transaction.events), transaction.hash
    return LedgerReport(path, count, events, last, len(torn_tail(path)))


def messages_after(path: Path, producer: str, offset: EntryId) -> Iterator[Message]:
    """The ledger-class messages of a ledger behind an entry, as they were or would have been sent.

    Only what lies behind the entry is read, and as much before it as leads to the message that precedes the first.

    Raises:
        LedgerCorruptError: the chain does not hold in what is read.
    """
    identity = first_identity(path)
    prev = NO_ENTRY
    for transaction in read(path, _leading_to(path, producer, offset)):
        for message in outgoing(producer, transaction, prev, identity):
            if message.entry > offset:
                yield message
            prev = message.entry


def _leading_to(path: Path, producer: str, offset: EntryId) -> Place:
    """The place before the last transaction with a message up to an entry: what is read from there knows it."""
    back = 0
    while True:
        place = place_before(path, offset[0] - back)
        if place.seq == 0:
            return place
        last = 0
        for transaction in read(path, place):
            if transaction.seq > offset[0]:
                break
            if any(message.entry <= offset for message in outgoing(producer, transaction)):
                last = transaction.seq
        if last:
            return place_before(path, last)
        back = back * _FURTHER_BACK + 1


def outgoing(
    producer: str, transaction: Transaction, prev: EntryId = NO_ENTRY, identity: str = ""
) -> Iterator[Message]:
    """The ledger-class events of a transaction as messages behind the entry ``prev`` of the ledger of that identity."""
    for index, (topic, event) in enumerate(transaction.events):
        if not topic.startswith(LOCAL) and row_of(topic).delivery is Delivery.LEDGER:
            place = (transaction.seq, index)
            yield Message(topic, event, producer, transaction.seq, place, prev, identity)
            prev = place
