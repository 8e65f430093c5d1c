"""One component with its ledger and journals: what every host does with a message, without any transport.

The daemons over Redis, the embedded fleet and the rehearsal all call ``handle`` and ``commit``; they
differ only in how messages come and go. Starting up is recovering: ``recover`` folds the ledger.
"""

from __future__ import annotations

import errno
import logging
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from core import codec, ids, ledger, projections, topics
from core.clock import EventClock
from core.component import Component, Durable, Loadable, Message, Unreadable
from core.contracts import Alert, Contract, JournalHealth, KillSwitchEvent, Severity
from core.crash_points import IN_JOURNAL, Reach, nowhere
from core.disk import OS_DISK, Disk, can_write
from core.errors import JournalWriteError, LedgerReplacedError, RejectedError
from core.journal import NdjsonJournal
from core.ledger import Cause, Ledger, Place, Transaction
from core.projections import Mark, digest
from core.snapshot import SNAPSHOT_EVERY, Snapshot, SnapshotFile
from core.topics import Delivery

REJECTED: Final = "rejected"  # the journal of what could not be processed
UNKNOWN_TOPIC: Final = "?"  # of an entry that does not name one
TRIES: Final = 3  # of a component that fails on a message, each from its recorded state, before that is set aside
ALERTS_KEPT: Final = 64
_log: Final = logging.getLogger("njord.host")


@dataclass
class HostCounters:
    """What a host has seen. ``errors`` is keyed by the exception's name, ``lost`` by producer and topic;
    ``restarts`` counts by producer and topic where a sequence began anew, so that its end is unknown; ``renewals``
    how often the component was made anew out of its ledger."""

    handled: int = 0
    renewals: int = 0
    emitted: int = 0
    duplicates: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)


class JournalSet:
    """The journals one daemon writes, opened on first use under one folder."""

    def __init__(
        self, folder: Path, *, rotate_bytes: int = 100 * 1024 * 1024, daily: bool = True, disk: Disk = OS_DISK
    ) -> None:
        self.folder = folder
        self._disk = disk
        self._rotate_bytes = rotate_bytes
        self._daily = daily
        self._open: dict[str, NdjsonJournal] = {}
        self._dirty: dict[str, NdjsonJournal] = {}

    def open(self, stream: str) -> NdjsonJournal:
        """The journal of a stream."""
        found = self._open.get(stream)
        if found is None:
            path = self.folder / f"{stream}.ndjson"
            found = self._open[stream] = NdjsonJournal(
                path, rotate_bytes=self._rotate_bytes, daily=self._daily, disk=self._disk
            )
        return found

    def append(self, stream: str, line: bytes, ts_ns: int) -> None:
        """Add a line; it reaches the file at the next ``flush``."""
        journal = self._open.get(stream) or self.open(stream)
        journal.append(line, ts_ns)
        self._dirty[stream] = journal

    def flush(self) -> None:
        """Hand everything appended to the operating system. Raises JournalWriteError."""
        while self._dirty:
            stream, journal = next(iter(self._dirty.items()))
            journal.flush()
            del self._dirty[stream]

    def close(self) -> None:
        """Flush and release every file."""
        self.flush()
        for journal in self._open.values():
            journal.close()
        self._open.clear()

    def abandon(self) -> None:
        """Release every file without what was not flushed; the next ``append`` opens anew."""
        for journal in self._open.values():
            journal.abandon()
        self._open.clear()
        self._dirty.clear()

    def sync(self) -> None:
        """Wait until the disk has what was flushed to every open file. Raises JournalWriteError."""
        for journal in self._open.values():
            journal.sync()

    def last_lines(self) -> dict[str, bytes | None]:
        """The last line of every open stream."""
        return {stream: journal.last_line for stream, journal in self._open.items()}


class ComponentHost:
    """Runs one component: skips what it has already processed, records what it answers, sends nothing itself.

    Args:
        component: the decision maker.
        journals: where its topics' journals are written.
        book: its ledger, or None for a component that keeps nothing (market data, bars).
        rebuild: makes the component anew, when it failed in the middle of a message and its state cannot be trusted.
        heal: makes a component without a ledger anew out of the journals, with what it has to tell then, when journaled
            broadcasts were lost on their way to it.
        trouble: what a start before this one could not write; the component is told first of all.
        snapshot_every: transactions between two snapshots of a component that can be rebuilt and loaded; 0 for none.

    Attributes:
        trouble: what could not be written, until ``mend`` succeeds. The ledger goes on without the journals that are
            projected from it; a daemon without a ledger does not go on.
        alerts: what a human should know, for whoever runs the host to pass on.
    """

    def __init__(
        self,
        component: Component,
        journals: JournalSet,
        book: Ledger | None = None,
        *,
        rebuild: Callable[[], Component] | None = None,
        heal: Callable[[], tuple[Component, Sequence[Contract]]] | None = None,
        trouble: JournalWriteError | None = None,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self.name = component.name
        self.component = component
        self.journals = journals
        self.ledger = book
        self.clock = EventClock()
        self.consumed: dict[str, tuple[int, int]] = {}
        self.trouble: JournalWriteError | None = None
        self._alarmed = False
        self.alerts: deque[Alert] = deque(maxlen=ALERTS_KEPT)
        self.counters = HostCounters()
        self.inputs = frozenset(row.contract for row in topics.consumed_by(component.name))
        self.halted = False  # what the kill switch last said
        self.pending = False  # something waits for ``commit``
        self.told = (0, 0)  # the newest entry of this daemon's own stream
        self.reach: Reach = nowhere  # told between the ledger and the journals that are projected from it
        self._rebuild = rebuild
        self._heal = heal
        self._held: list[tuple[str, bytes, int]] = []  # lines that a full journal did not take
        self._trouble_told = False
        self._recorded: dict[str, tuple[int, int]] = {}  # what the ledger says of ``consumed``
        self._snapshots = SnapshotFile(book.path, book.disk) if book is not None else None
        self._snapshot_every = snapshot_every if rebuild is not None else 0
        self._mark: Mark | None = None  # of the latest snapshot
        self._origins: dict[str, str] = {}  # identity of each upstream ledger
        self._origins_kept: set[str] = set()  # those of them that our own ledger has
        self._sent: dict[str, int] = {}  # broadcast sequence by topic
        self._seen: dict[tuple[str, str], int] = {}  # last broadcast sequence by producer and topic
        if trouble is not None:
            self._in_trouble(trouble)

    @property
    def streams(self) -> dict[str, tuple[int, int]]:
        """The upstream streams of this daemon and the last entry processed from each."""
        upstream = sorted({row.producer for row in topics.consumed_by(self.name) if row.delivery is Delivery.LEDGER})
        return {producer: self.consumed.get(producer, (0, 0)) for producer in upstream}

    @property
    def origins(self) -> Mapping[str, str]:
        """The identity of each upstream ledger that entries came from."""
        return self._origins

    def recover(self) -> int:
        """Fold the ledger into the component and mend journals that lag behind it; returns the transactions read.

        Raises:
            LedgerCorruptError: the chain does not hold.
        """
        if self.ledger is None:
            return 0
        for transaction in self.ledger.replay(self._start_from_snapshot()):
            self._learn(transaction)
            _restore(self.component, transaction)
        self._mend_journals(self.ledger)
        self._mind_reserve(self.ledger)
        return self.ledger.seq

    def _start_from_snapshot(self) -> Place | None:
        """Become what the snapshot says, if there is one that fits; the place behind which the ledger is to be read."""
        snapshot = self._loaded()
        if snapshot is None:
            return None
        self.consumed = dict(snapshot.consumed)
        self._recorded = dict(snapshot.consumed)
        self._origins, self._origins_kept = dict(snapshot.origins), set(snapshot.origins)
        self.told, self.halted, self._trouble_told = snapshot.told, snapshot.halted, snapshot.trouble_told
        self.clock.advance_to(snapshot.ts_ns)
        self._mark = Mark(snapshot.place, snapshot.journals)
        return snapshot.place

    def _loaded(self) -> Snapshot | None:
        """Load the component, which has seen nothing yet, from the snapshot that fits; None when there is none."""
        component = self.component
        if not self._snapshot_every or self._snapshots is None or not isinstance(component, Loadable):
            return None
        snapshot = self._snapshots.read(self.name, _version(component))
        if snapshot is None:
            return None
        try:
            component.load_snapshot(snapshot.state)
        except Exception as error:  # noqa: BLE001 — whatever is wrong with a snapshot, the ledger has it all
            _log.warning("snapshot of %s is passed over, the whole ledger is read: %s", self.name, error)
            assert self._rebuild is not None
            self.component = self._rebuild()
            return None
        return snapshot

    def _save_snapshot(self, book: Ledger) -> None:
        """Write down where the ledger and everything folded from it stand. Ask when everything is committed.

        Raises:
            JournalWriteError: of the ledger; a snapshot that cannot be written is only told.
        """
        if self._snapshots is None or not isinstance(self.component, Loadable) or self.trouble is not None:
            return
        if book.durable:
            book.sync()
            try:
                self.journals.sync()
            except JournalWriteError as error:
                self._in_trouble(error)
                return
        lines = self.journals.last_lines()
        known = self._mark.journals if self._mark is not None else {}
        journals = {**known, **{name: digest(line) for name, line in lines.items() if not name.startswith(REJECTED)}}
        self._mark = Mark(book.place, journals)
        snapshot = Snapshot(
            daemon=self.name,
            ledger=book.identity,
            seq=book.seq,
            at=book.place.hash,
            offset=book.place.offset,
            ts_ns=book.ts_ns,
            consumed=self._recorded,
            origins={name: self._origins[name] for name in sorted(self._origins_kept)},
            told=self.told,
            halted=self.halted,
            trouble_told=self._trouble_told,
            journals=journals,
            version=_version(self.component),
            state=self.component.snapshot(),
        )
        try:
            self._snapshots.write(snapshot, durable=book.durable)
        except (OSError, ValueError) as error:
            _log.warning("no snapshot of %s at transaction %d: %s", self.name, book.seq, error)

    def _learn(self, transaction: Transaction) -> None:
        """Take from a recorded transaction what the host itself goes by."""
        cause = transaction.cause
        if cause.entry is not None:
            self.consumed[cause.stream] = self._recorded[cause.stream] = cause.entry
            if cause.ledger:
                self._origins[cause.stream] = cause.ledger
                self._origins_kept.add(cause.stream)
        elif isinstance(cause.event, KillSwitchEvent):
            self.halted = cause.event.tripped
        elif isinstance(cause.event, JournalHealth):
            self._trouble_told = not cause.event.ok
        self.clock.advance_to(transaction.ts_ns)
        for message in ledger.outgoing(self.name, transaction):
            self.told = message.entry

    def _mend_journals(self, book: Ledger) -> None:
        """Write what the journals lack of the ledger. Raises nothing: what cannot be written is ``trouble``."""
        try:
            projections.mend(self.journals, book.path, self._mark)
        except JournalWriteError as error:
            self._in_trouble(error)

    def mend(self) -> bool:
        """Try to write what could not be written; whether nothing is left. The component hears of it with the next
        message, or by ``tell_trouble``."""
        if self.trouble is None or self.ledger is None:
            return True
        self.ledger.commit()
        if not self.ledger.refresh_reserve():
            return False  # what space there is belongs to the ledger
        if not can_write(self.trouble.path, self.ledger.disk):
            return False  # seen before the ledger is read: that may take seconds, and this is asked often
        self.trouble = None
        self.journals.abandon()
        self._mend_journals(self.ledger)
        self._out_of_trouble()
        return self.trouble is None

    def tell_trouble(self) -> list[Message]:
        """Tell the component that writing fails, or no longer fails, if it does not know yet."""
        if self.ledger is None or self._trouble_told == (self.trouble is not None):
            return []
        self._trouble_told = self.trouble is not None
        return self.handle_local(JournalHealth(self.trouble is None, str(self.trouble or ""), self.clock.now_ns()))

    def _mind_reserve(self, book: Ledger) -> None:
        """A full disk is trouble while the ledger can still be written out of its reserve."""
        if book.strained and self.trouble is None:
            full = OSError(errno.ENOSPC, "the disk is full, the reserve is used")
            self._in_trouble(JournalWriteError(book.path, full))

    def _in_trouble(self, error: JournalWriteError) -> None:
        self.trouble = error
        if not self._alarmed:
            self._alarmed = True
            going = "waits" if self.ledger is None else "goes on without these journals"
            _log.error("%s %s: %s", self.name, going, error)
            self._raise_alert("critical", "journals cannot be written", str(error))

    def _out_of_trouble(self) -> None:
        if self.trouble is None and self._alarmed:
            self._alarmed = False
            _log.warning("%s writes its journals again; nothing is missing in them", self.name)
            self._raise_alert("info", "journals are written again", "nothing is missing in them")

    def handle(self, message: Message) -> list[Message]:
        """Process one message off the bus; a ledger entry that was processed before answers nothing.

        Raises:
            LedgerReplacedError: the entry comes from another ledger than those before.
            JournalWriteError: the component failed, and its recorded state cannot be written.
        """
        if self.ledger is not None and self._trouble_told != (self.trouble is not None):
            return [*self.tell_trouble(), *self.handle(message)]
        event = message.event
        if message.entry == (0, 0):
            healed = self._healed(message) if message.seq and self._watch_sequence(message) else []
            answers, note = self._answer(event)
            recorded = self._record(event, Cause(message.topic, ""), answers, note) if answers else []
            return [*healed, *recorded] if healed else recorded
        self._check_origin(message)
        if message.entry <= self.consumed.get(message.producer, (0, 0)):
            self.counters.duplicates += 1
            return []
        if type(event) is not Unreadable and type(event) not in self.inputs:
            self.consumed[message.producer] = message.entry
            return []
        answers, note = self._answer(event)
        self.consumed[message.producer] = self._recorded[message.producer] = message.entry
        return self._record(event, self._cause(message), answers, note, recorded=True)

    def _check_origin(self, message: Message) -> None:
        """Entries of one producer come from one ledger."""
        known = self._origins.setdefault(message.producer, message.ledger)
        if message.ledger != known and message.ledger and known:
            at = self.consumed.get(message.producer, (0, 0))
            raise LedgerReplacedError(
                f"{self.name} has processed {message.producer} up to {at[0]}-{at[1]} of the ledger {known}, but now "
                f"gets entries of {message.ledger}: that ledger was deleted or replaced. Restore it from a backup; or, "
                f"to start anew, stop the fleet and move the ledgers of all daemons aside"
            )

    def _cause(self, message: Message) -> Cause:
        place = f"{message.entry[0]}-{message.entry[1]}"
        identity = ""
        if message.producer not in self._origins_kept and message.ledger:
            identity = message.ledger
            self._origins_kept.add(message.producer)
        if isinstance(message.event, Unreadable):
            return Cause(message.producer, place, message.topic or UNKNOWN_TOPIC, None, identity)
        return Cause(message.producer, place, message.topic, message.event, identity)

    def handle_local(self, event: Contract) -> list[Message]:
        """Process an event of the daemon's own host: a feed's raw event, the kill switch."""
        topic = f"{ledger.LOCAL}{type(event).__name__}"
        if isinstance(event, KillSwitchEvent):
            self.halted = event.tripped
        if topic in ledger.LOCAL_CONTRACTS and self.ledger is not None:
            cause = Cause("local", type(event).__name__, topic, event)
            return self._record(event, cause, *self._answer(event), recorded=True)
        answers, note = self._answer(event)
        return self._record(event, Cause("local", type(event).__name__), answers, note) if answers else []

    def say(self, events: Sequence[Contract]) -> list[Message]:
        """Answer something without an event: what a daemon has to tell when it starts."""
        return self._record(events[-1], Cause("local", "start"), events, "") if events else []

    def commit(self) -> None:
        """Make everything answered so far durable. Only then may the messages leave. Raises JournalWriteError."""
        if self.ledger is None:
            self._write_journals()
        else:
            self.ledger.commit()
            self.reach(IN_JOURNAL)
            self._mind_reserve(self.ledger)
            self._flush_journals()
            self._save_now_and_then(self.ledger)
        self.pending = False

    def _save_now_and_then(self, book: Ledger, every: int = 0) -> None:
        since = book.seq - (self._mark.place.seq if self._mark is not None else 0)
        if self._snapshot_every and since >= (every or self._snapshot_every):
            self._save_snapshot(book)

    def _flush_journals(self) -> None:
        if self.trouble is None:
            try:
                self.journals.flush()
            except JournalWriteError as error:
                self._in_trouble(error)

    def close(self) -> None:
        """Commit and release every file. Journals that lag behind the ledger are mended by the next start.

        Raises:
            JournalWriteError: of the ledger; or of the journals, where there is none. Everything is released then, too.
        """
        try:
            self._close()
        except BaseException:
            self.abandon()
            raise

    def _close(self) -> None:
        if self.ledger is None:
            self._write_journals()
        else:
            if not self.mend():
                _log.error("%s ends without its journals, the next start mends them: %s", self.name, self.trouble)
                self.journals.abandon()
            self.ledger.commit()
            self._save_now_and_then(self.ledger, every=1)
            self.ledger.close()
        self.journals.close()

    def abandon(self) -> None:
        """Release every file as a crash does: what is not durable never happened."""
        if self.ledger is not None:
            self.ledger.abandon()
        self.journals.abandon()

    def _watch_sequence(self, message: Message) -> bool:
        """Count broadcasts that were lost on the way, by the gap in their producer's sequence; whether any may be."""
        key = (message.producer, message.topic)
        last = self._seen.get(key, 0)
        self._seen[key] = message.seq
        # The first one seen may be any.
        if message.seq < last:
            self.counters.restarts[f"{message.producer}:{message.topic}"] += 1
            _log.warning("%s started again; what it had not sent of %s before is unknown", *key)
            return True
        if message.seq > last + 1 and last:
            self.counters.lost[f"{message.producer}:{message.topic}"] += message.seq - last - 1
            _log.warning("broadcast lost: %s %s %d..%d", *key, last + 1, message.seq - 1)
            return True
        return False

    def _healed(self, message: Message) -> list[Message]:
        """Take what was lost from the journals, as after a restart. Raises JournalWriteError."""
        if self._heal is None or topics.row_of(message.topic).journal is None:
            return []
        self.commit()  # the journals must have what was told already
        self.component, due = self._heal()
        self.counters.renewals += 1
        return self.say(due)

    def _answer(self, event: Contract) -> tuple[Sequence[Contract], str]:
        """Ask the component; what it cannot process is set aside, with the reason as the note."""
        self.clock.advance_to(event.ts_ns)
        self.counters.handled += 1
        tries = 1
        while True:
            try:
                if isinstance(event, Unreadable):
                    raise RejectedError(event.reason)
                answers = self.component.on_event(event)
                answers = answers if isinstance(answers, list | tuple) else list(answers)
                if self.ledger is not None:
                    _refuse_unwritable(answers)
                return answers, ""
            except RejectedError as error:
                self._set_aside(event, error)
                return (), str(error)
            except Exception as error:  # noqa: BLE001 — a bug in one component must not block the line behind it
                _log.error("%s failed on %s: %s", self.name, event, traceback.format_exc())
                renewed = self._renew()
                if not renewed or tries == TRIES:
                    self._set_aside(event, error)
                    reason = f"{type(error).__name__}: {error}"
                    self._raise_alert("error", f"{type(event).__name__} set aside after {tries} tries", reason)
                    return (), reason
                tries += 1

    def _renew(self) -> bool:
        """Make the component anew out of its ledger: one that failed half-way may be in any state."""
        if self._rebuild is None or self.ledger is None:
            return False
        self.ledger.commit()
        self.component = self._rebuild()
        snapshot = self._loaded()
        for transaction in ledger.read(self.ledger.path, None if snapshot is None else snapshot.place):
            _restore(self.component, transaction)
        self.counters.renewals += 1
        return True

    def _raise_alert(self, severity: Severity, title: str, message: str) -> None:
        now = self.clock.now_ns()
        identity = f"a-{ids.stem(self.name, title, message, str(now))}"
        self.alerts.append(Alert(identity, now, severity, "system", self.name, title, message))

    def _record(
        self, event: Contract, cause: Cause, answers: Sequence[Contract], note: str, *, recorded: bool = False
    ) -> list[Message]:
        """Write what was answered to the ledger, if it belongs there, and to the journals; the messages to send."""
        self.pending = True
        rows = [topics.BY_CONTRACT.get(type(answer)) for answer in answers]
        seq, book = 0, ""
        if self.ledger is not None and (recorded or any(row and row.delivery is Delivery.LEDGER for row in rows)):
            named = cause if cause.id else cause._replace(id=identity(event))
            seq = self.ledger.append(self.clock.now_ns(), named, answers, note)
            book = self.ledger.identity
        out: list[Message] = []
        for index, (row, answer) in enumerate(zip(rows, answers, strict=True)):
            if row is None:  # local to this daemon's host
                out.append(Message("", answer, self.name))
                continue
            journal = row.journal_name(answer)
            if journal is not None:
                self._journal(journal, codec.encode(answer), answer.ts_ns)
            topic = row.name(answer)
            if seq and row.delivery is Delivery.LEDGER:
                prev, self.told = self.told, (seq, index)
                out.append(Message(topic, answer, self.name, seq, self.told, prev, book))
            else:
                self._sent[topic] = sent = self._sent.get(topic, 0) + 1
                out.append(Message(topic, answer, self.name, sent))
        self.counters.emitted += len(out)
        return out

    def _set_aside(self, event: Contract, error: Exception) -> None:
        self.pending = True
        now = self.clock.now_ns()
        self.counters.errors[type(error).__name__] += 1
        line = {
            "ts_ns": now,
            "daemon": self.name,
            "contract": type(event).__name__,
            "error": type(error).__name__,
            "reason": str(error),
            "event": event.to_dict(),
        }
        self._journal(f"{REJECTED}.{self.name}", codec.encode_plain(line), now)
        _log.warning("%s set aside a message: %s", self.name, error)

    def _journal(self, stream: str, line: bytes, ts_ns: int) -> None:
        """Add a line to a journal. One that is projected from the ledger can be written later, others must wait."""
        if self._held or (self.trouble is not None and self.ledger is not None):
            if self.ledger is None:
                self._held.append((stream, line, ts_ns))
            return
        try:
            self.journals.append(stream, line, ts_ns)
        except JournalWriteError as error:
            self._in_trouble(error)
            if self.ledger is None:
                self._held.append((stream, line, ts_ns))

    def _write_journals(self) -> None:
        """The journals of a daemon without a ledger: they are the record. Raises JournalWriteError."""
        try:
            while self._held:
                self.journals.append(*self._held[0])
                del self._held[0]
            self.journals.flush()
        except JournalWriteError as error:
            self._in_trouble(error)
            raise
        self.trouble = None
        self._out_of_trouble()


def _restore(component: Component, transaction: Transaction) -> None:
    if isinstance(component, Durable) and not transaction.note:
        component.restore(transaction.cause.event, [event for _, event in transaction.events])


def _refuse_unwritable(answers: Iterable[Contract]) -> None:
    """Raise TypeError or ValueError for what no ledger can hold: its component failed as if it had raised that."""
    for answer in answers:
        if type(answer) not in topics.BY_CONTRACT:
            raise TypeError(f"expected an answer that has a topic, got {type(answer).__name__}")
        codec.encode(answer)


def identity(event: Contract) -> str:
    """What names a broadcast event in a ledger: its own id where it has one, otherwise its time."""
    return getattr(event, "trade_id", "") or str(event.ts_ns)


def _version(component: Component) -> int:
    """Of the form of the component's snapshots."""
    return int(getattr(component, "SNAPSHOT_VERSION", 1))


def deliver(hosts: Iterable[ComponentHost], messages: Sequence[Message]) -> list[Message]:
    """One round: every host, in its order, takes every message it wants; returns what they answer.

    Rounds make the outcome independent of scheduling: within a round hosts share nothing, and each sees
    the messages ordered by producer and sequence. The lock-step mode across processes does the same.
    """
    answers: list[Message] = []
    for host in hosts:
        inputs = host.inputs
        for message in messages:
            if type(message.event) in inputs:
                answers += host.handle(message)
        if host.pending:
            host.commit()
    return answers
