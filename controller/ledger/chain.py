"""The chain of a ledger in one reading, besides the daemon's own state: its extent, offsets and messages by receiver.

Only for looking: files are opened for reading, no lock is taken, and a running daemon may write on meanwhile.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from pathlib import Path
from typing import Final

from core.entries import NO_ENTRY, ConsumerOffset, EntryId
from core.ledger import Transaction, ledger
from core.topics import row_of

_INDEX_BITS: Final = 24  # an entry as one number, so that a day's entries take little memory


class Chain:
    """One ledger as far as it was read."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.transactions = 0
        self.events = 0
        self.set_aside = 0  # causes that could not be processed
        self.first_ns = 0
        self.last_ns = 0
        self.last_hash = ""
        self.identity = ""
        self.newest: EntryId = NO_ENTRY  # the last message of this ledger that others get
        self.consumed: dict[str, ConsumerOffset] = {}  # by producer
        self.origins: dict[str, str] = {}  # by producer, the identity of the ledger that was consumed
        self._sent: dict[str, array[int]] = {}  # by consumer

    def take(self, transaction: Transaction) -> None:
        """Count one transaction, in order."""
        cause = transaction.cause
        if not self.transactions:
            self.first_ns, self.identity = transaction.ts_ns, ledger.identity_of(transaction.hash)
        self.transactions, self.last_ns, self.last_hash = transaction.seq, transaction.ts_ns, transaction.hash
        self.events += len(transaction.events)
        self.set_aside += bool(transaction.note)
        if cause.entry is not None:
            self.consumed[cause.stream] = cause.entry
            if cause.ledger:
                self.origins[cause.stream] = cause.ledger
        for message in ledger.outgoing(self.name, transaction):
            self.newest = message.entry
            for consumer in row_of(message.topic).receivers:
                self._sent.setdefault(consumer, array("Q")).append(_number(message.entry))

    def waiting(self, consumer: str, offset: EntryId) -> int:
        """The number of messages for a consumer behind its offset."""
        sent = self._sent.get(consumer)
        return 0 if sent is None else len(sent) - bisect_right(sent, _number(offset))

    def reaches(self, entry: EntryId) -> bool:
        """Whether the ledger has that entry, or has got it since it was read. Raises LedgerCorruptError."""
        if entry <= self.newest:
            return True
        return any(message.entry >= entry for message in ledger.messages_after(self.path, self.name, self.newest))


def _number(entry: EntryId) -> int:
    return entry[0] << _INDEX_BITS | entry[1]
