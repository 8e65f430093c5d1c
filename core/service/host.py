"""One component with its ledger and journals: what every host does with a message, without any transport.

The daemons over Redis, the embedded fleet and the rehearsal all call ``handle`` and ``commit``; they
differ only in how messages come and go. Starting up is recovering: ``recover`` folds the ledger.
"""

from __future__ import annotations

import errno
import logging
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from core import codec, ids, topics
from core.clock import EventClock
from core.component import Component, Durable, Message, Unreadable
from core.contracts import Alert, Contract, JournalHealth, KillSwitchEvent, Severity
from core.disk import can_write
from core.entries import ConsumerOffset, EntryId
from core.errors import JournalWriteError, RejectedError
from core.journal import JournalSet
from core.journal.batch import JournalWriter
from core.ledger import Cause, Ledger, Place, Transaction, ledger, projections
from core.ledger.progress import Progress
from core.ledger.projections import ProjectionOffset
from core.ledger.snapshot import SNAPSHOT_EVERY, Snapshot
from core.ledger.snapshot_keeper import REJECTED, SnapshotKeeper
from core.service.counters import BroadcastSequences, HostCounters
from core.service.crash_points import IN_JOURNAL, Reach, nowhere
from core.topics import Delivery

__all__ = ["ALERTS_KEPT", "REJECTED", "TRIES", "ComponentHost", "HostCounters", "JournalSet", "deliver", "identity"]

TRIES: Final = 3  # of a component that fails on a message, each from its recorded state, before that is set aside
ALERTS_KEPT: Final = 64
_log: Final = logging.getLogger("njord.host")


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
        progress: how far it has come.
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
        self.progress = Progress(component.name)
        self.alerts: deque[Alert] = deque(maxlen=ALERTS_KEPT)
        self.counters = HostCounters()
        self.inputs = frozenset(row.contract for row in topics.consumed_by(component.name))
        self.pending = False  # something waits for ``commit``
        self.reach: Reach = nowhere  # told between the ledger and the journals that are projected from it
        self._rebuild = rebuild
        self._heal = heal
        self._writer = JournalWriter(self.name, journals, projected=book is not None, alarm=self._raise_alert)
        every = snapshot_every if rebuild is not None else 0
        self._snapshots = SnapshotKeeper(self.name, book, journals, every) if book is not None else None
        self._sent: dict[str, int] = {}  # broadcast sequence by topic
        self._sequences = BroadcastSequences(self.counters)
        if trouble is not None:
            self._writer.refused(trouble)

    @property
    def trouble(self) -> JournalWriteError | None:
        """What could not be written, until ``mend`` succeeds. The ledger goes on without the journals that are
        projected from it; a daemon without a ledger does not go on."""
        return self._writer.trouble

    @property
    def consumed(self) -> dict[str, ConsumerOffset]:
        """The last entry processed of each upstream stream."""
        return self.progress.consumed

    @property
    def newest_entry(self) -> EntryId:
        """The newest entry of this daemon's own stream."""
        return self.progress.newest_entry

    @property
    def halted(self) -> bool:
        """What the kill switch last said."""
        return self.progress.halted

    @property
    def streams(self) -> dict[str, ConsumerOffset]:
        """The upstream streams of this daemon and the last entry processed from each."""
        return {producer: self.consumed.get(producer, (0, 0)) for producer in topics.upstreams_of(self.name)}

    @property
    def origins(self) -> Mapping[str, str]:
        """The identity of each upstream ledger that entries came from."""
        return self.progress.origins

    def recover(self) -> int:
        """Fold the ledger into the component and mend journals that lag behind it; returns the transactions read.

        Raises:
            LedgerCorruptError: the chain does not hold.
        """
        if self.ledger is None:
            return 0
        for transaction in self.ledger.replay(self._start_from_snapshot()):
            self.progress.learn(transaction)
            self.clock.advance_to(transaction.ts_ns)
            _recover(self.component, transaction)
        self._writer.complete(self._project)
        self._mind_reserve(self.ledger)
        return self.ledger.seq

    def _start_from_snapshot(self) -> Place | None:
        """Become what the snapshot says, if there is one that fits; the place behind which the ledger is to be read."""
        snapshot = self._load_snapshot()
        if snapshot is None or self._snapshots is None:
            return None
        self.progress = Progress.at(snapshot)
        self.clock.advance_to(snapshot.ts_ns)
        self._snapshots.projected = ProjectionOffset(snapshot.place, snapshot.journals)
        return snapshot.place

    def _load_snapshot(self) -> Snapshot | None:
        """Load the component, which has seen nothing yet, from the snapshot that fits; None when there is none."""
        if self._snapshots is None or self._rebuild is None:
            return None
        self.component, snapshot = self._snapshots.load(self.component, self._rebuild)
        return snapshot

    def _project(self) -> None:
        """Write what the journals lack of the ledger. Raises JournalWriteError."""
        if self.ledger is not None and self._snapshots is not None:
            projections.repair(self.journals, self.ledger.path, self._snapshots.projected)

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
        self._writer.mend(self._project)
        return self.trouble is None

    def tell_trouble(self) -> list[Message]:
        """Tell the component that writing fails, or no longer fails, if it does not know yet."""
        if not self._has_news_of_trouble:
            return []
        self.progress.trouble_told = self.trouble is not None
        return self.handle_local(JournalHealth(self.trouble is None, str(self.trouble or ""), self.clock.now_ns()))

    @property
    def _has_news_of_trouble(self) -> bool:
        return self.ledger is not None and self.progress.trouble_told != (self.trouble is not None)

    def _mind_reserve(self, book: Ledger) -> None:
        """A full disk is trouble while the ledger can still be written out of its reserve."""
        if book.strained and self.trouble is None:
            full = OSError(errno.ENOSPC, "the disk is full, the reserve is used")
            self._writer.refused(JournalWriteError(book.path, full))

    def handle(self, message: Message) -> list[Message]:
        """Process one message off the bus; a ledger entry that was processed before answers nothing.

        Raises:
            LedgerReplacedError: the entry comes from another ledger than those before.
            JournalWriteError: the component failed, and its recorded state cannot be written.
        """
        if self._has_news_of_trouble:
            return [*self.tell_trouble(), *self.handle(message)]
        event = message.event
        if message.entry == (0, 0):
            healed = self._healed(message) if message.seq and self._sequences.may_lack(message) else []
            answers, note = self._answer(event)
            recorded = self._record(event, Cause(message.topic, ""), answers, note) if answers else []
            return [*healed, *recorded] if healed else recorded
        if self.progress.is_repeat(message):
            self.counters.duplicates += 1
            return []
        if type(event) is not Unreadable and type(event) not in self.inputs:
            self.consumed[message.producer] = message.entry
            return []
        answers, note = self._answer(event)
        self.progress.processed(message.producer, message.entry)
        return self._record(event, self.progress.cause(message), answers, note, recorded=True)

    def handle_local(self, event: Contract) -> list[Message]:
        """Process an event of the daemon's own host: a feed's raw event, the kill switch."""
        topic = f"{ledger.LOCAL}{type(event).__name__}"
        if isinstance(event, KillSwitchEvent):
            self.progress.halted = event.tripped
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
            self._writer.write()
        else:
            self.ledger.commit()
            self.reach(IN_JOURNAL)
            self._mind_reserve(self.ledger)
            self._writer.flush()
            self._save_now_and_then(self.ledger)
        self.pending = False

    def _save_now_and_then(self, book: Ledger, *, at_end: bool = False) -> None:
        if self._snapshots is None or self.trouble is not None or not self._snapshots.due(at_end=at_end):
            return
        if book.durable:
            book.sync()
            self._writer.sync()
        if self.trouble is None:
            self._snapshots.save(self.component, self.progress)

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
            self._writer.write()
        else:
            if not self.mend():
                _log.error("%s ends without its journals, the next start mends them: %s", self.name, self.trouble)
                self.journals.abandon()
            self.ledger.commit()
            self._save_now_and_then(self.ledger, at_end=True)
            self.ledger.close()
        self.journals.close()

    def abandon(self) -> None:
        """Release every file as a crash does: what is not durable never happened."""
        if self.ledger is not None:
            self.ledger.abandon()
        self.journals.abandon()

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
        snapshot = self._load_snapshot()
        for transaction in ledger.read(self.ledger.path, None if snapshot is None else snapshot.place):
            _recover(self.component, transaction)
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
            journal = row.journal_name(answer, self.name)
            if journal is not None:
                self._writer.append(journal, codec.encode(answer), answer.ts_ns)
            topic = row.name(answer)
            if seq and row.delivery is Delivery.LEDGER:
                prev, self.progress.newest_entry = self.progress.newest_entry, (seq, index)
                out.append(Message(topic, answer, self.name, seq, (seq, index), prev, book))
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
        self._writer.append(f"{REJECTED}.{self.name}", codec.encode_plain(line), now)
        _log.warning("%s set aside a message: %s", self.name, error)


def _recover(component: Component, transaction: Transaction) -> None:
    if isinstance(component, Durable) and not transaction.note:
        component.recover(transaction.cause.event, [event for _, event in transaction.events])


def _refuse_unwritable(answers: Iterable[Contract]) -> None:
    """Raise TypeError or ValueError for what no ledger can hold: its component failed as if it had raised that."""
    for answer in answers:
        if type(answer) not in topics.BY_CONTRACT:
            raise TypeError(f"expected an answer that has a topic, got {type(answer).__name__}")
        codec.encode(answer)


def identity(event: Contract) -> str:
    """What names a broadcast event in a ledger: its own id where it has one, otherwise its time."""
    return getattr(event, "trade_id", "") or str(event.ts_ns)


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
