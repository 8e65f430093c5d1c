"""The progress of a daemon by its own ledger: the entries it processed, their ledgers, and its own newest entry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from core.component import Message, Unreadable
from core.contracts import JournalHealth, KillSwitchEvent, StreamGap
from core.entries import NO_ENTRY, ConsumerOffset, EntryId, entry_id_of, entry_text
from core.errors import LedgerReplacedError
from core.ledger import ledger
from core.ledger.ledger import Cause, Transaction
from core.ledger.snapshot import Snapshot

UNKNOWN_TOPIC: Final = "?"  # of an entry that does not name one


@dataclass
class Progress:
    """The state of a host beside its component's.

    Attributes:
        name: the daemon.
        consumed: the last entry processed of each upstream stream.
        recorded: what the ledger says of that; entries that are nobody's business here are passed over without a word.
        origins: the identity of each upstream ledger; ``kept``: those of them that the own ledger has.
        newest_entry: the newest entry of the daemon's own stream.
        halted: what the kill switch last said.
        trouble_told: whether the component was last told that something cannot be written.
    """

    name: str
    consumed: dict[str, ConsumerOffset] = field(default_factory=dict)
    recorded: dict[str, ConsumerOffset] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    newest_entry: EntryId = NO_ENTRY
    halted: bool = False
    trouble_told: bool = False

    @classmethod
    def at(cls, snapshot: Snapshot) -> Progress:
        """The progress that a snapshot records."""
        return cls(
            snapshot.daemon,
            dict(snapshot.consumed),
            dict(snapshot.consumed),
            dict(snapshot.origins),
            set(snapshot.origins),
            snapshot.newest_entry,
            snapshot.halted,
            snapshot.trouble_told,
        )

    def learn(self, transaction: Transaction) -> None:
        """Take a recorded transaction in."""
        cause = transaction.cause
        if cause.entry is not None:
            self.processed(cause.stream, cause.entry)
            if cause.ledger:
                self.origins[cause.stream] = cause.ledger
                self.kept.add(cause.stream)
        elif isinstance(cause.event, KillSwitchEvent):
            self.halted = cause.event.tripped
        elif isinstance(cause.event, StreamGap):
            self.processed(cause.event.producer, entry_id_of(cause.event.until))
        elif isinstance(cause.event, JournalHealth):
            self.trouble_told = not cause.event.ok
        for message in ledger.outgoing(self.name, transaction):
            self.newest_entry = message.entry

    def processed(self, producer: str, entry: EntryId) -> None:
        """An entry was processed, and is to be recorded."""
        self.consumed[producer] = self.recorded[producer] = entry

    def is_repeat(self, message: Message) -> bool:
        """Whether an entry was processed before.

        Raises:
            LedgerReplacedError: it comes from another ledger than those before.
        """
        origin = self.origins.setdefault(message.producer, message.ledger)
        at = self.consumed.get(message.producer, NO_ENTRY)
        if message.ledger != origin and message.ledger and origin:
            raise LedgerReplacedError(
                f"{self.name} has processed {message.producer} up to {entry_text(at)} of the ledger {origin}, but now "
                f"gets entries of {message.ledger}: that ledger was deleted or replaced. Restore it from a backup; or, "
                f"to start anew, stop the fleet and move the ledgers of all daemons aside"
            )
        return message.entry <= at

    def cause(self, message: Message) -> Cause:
        """An entry as the cause of a transaction; the first one of a ledger names it."""
        place = entry_text(message.entry)
        identity = ""
        if message.producer not in self.kept and message.ledger:
            identity = message.ledger
            self.kept.add(message.producer)
        if isinstance(message.event, Unreadable):
            return Cause(message.producer, place, message.topic or UNKNOWN_TOPIC, None, identity)
        return Cause(message.producer, place, message.topic, message.event, identity)
