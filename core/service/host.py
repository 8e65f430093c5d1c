"""The host of one component: its ledger, its journals and its recovery, without any transport.

The daemons over Redis, the embedded fleet and the rehearsal all call ``handle`` and ``commit``; they
differ only in how messages come and go. Starting up is recovering: ``recover`` folds the ledger.
"""

from __future__ import annotations

import errno
import logging
import traceback
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from core import codec, ids, topics
from core.clock import EventClock
from core.component import Component, Message, Unreadable
from core.contracts import Alert, Contract, JournalHealth, KillSwitchEvent, Severity, StreamGap
from core.disk import can_write
from core.entries import NO_ENTRY, ConsumerOffset, EntryId, entry_id_of
from core.errors import JournalWriteError, RejectedError
from core.journal import JournalSet
from core.journal.batch import JournalWriter
from core.ledger import LOCAL, LOCAL_CONTRACTS, SNAPSHOT_EVERY, Cause, Ledger, Place, projections
from core.ledger.progress import Progress
from core.ledger.projections import ProjectionOffset
from core.ledger.snapshot_keeper import REJECTED, SnapshotKeeper
from core.service.counters import BroadcastSequences, HostCounters
from core.service.crash_points import IN_JOURNAL, Reach, nowhere
from core.service.recorder import Recorder, identity
from core.service.recovery import CatchUp, Rebuild, Recovery, recover_transaction

__all__ = ["ALERTS_KEPT", "REJECTED", "TRIES", "ComponentHost", "HostCounters", "JournalSet", "identity"]

TRIES: Final = 3  # of a component that fails on a message, each from its recorded state, before that is set aside
ALERTS_KEPT: Final = 64
_log: Final = logging.getLogger("njord.host")


class ComponentHost:
    """Runs one component: skips what it has already processed, records what it answers, sends nothing itself.

    Args:
        component: the decision maker.
        journals: where its topics' journals are written.
        ledger: its ledger, or None for a component that keeps nothing (market data, bars).
        rebuild: makes the component anew, when its state cannot be trusted any more.
        catch_up: lets a component without a ledger learn from the journals what it missed, at a start and when
            journaled broadcasts were lost on their way to it; returns what it has to publish.
        trouble: what a start before this one could not write; the component is told first of all.
        snapshot_every: transactions between two snapshots of a component that can be rebuilt and loaded; 0 for none.

    Attributes:
        progress: the place that the daemon has reached in each stream.
        alerts: what a human should know, for whoever runs the host to pass on.
        pending: whether something waits for ``commit``.
    """

    def __init__(
        self,
        component: Component,
        journals: JournalSet,
        ledger: Ledger | None = None,
        *,
        rebuild: Rebuild | None = None,
        catch_up: CatchUp | None = None,
        trouble: JournalWriteError | None = None,
        snapshot_every: int = SNAPSHOT_EVERY,
    ) -> None:
        self.name = component.name
        self.component = component
        self.journals = journals
        self.ledger = ledger
        self.clock = EventClock()
        self.progress = Progress(component.name)
        self.alerts: deque[Alert] = deque(maxlen=ALERTS_KEPT)
        self.counters = HostCounters()
        self.inputs = frozenset(row.contract for row in topics.consumed_by(component.name))
        self.pending = False
        self.reach: Reach = nowhere  # called between the ledger and the journals that are projected from it
        self._writer = JournalWriter(self.name, journals, projected=ledger is not None, alarm=self._raise_alert)
        every = snapshot_every if rebuild is not None else 0
        self._snapshots = SnapshotKeeper(self.name, ledger, journals, every) if ledger is not None else None
        self._recovery = Recovery(rebuild, catch_up, ledger, self._snapshots)
        self._recorder = Recorder(self.name, ledger, self._writer, self.clock)
        self._sequences = BroadcastSequences(self.counters)
        if trouble is not None:
            self._writer.refused(trouble)

    @property
    def trouble(self) -> JournalWriteError | None:
        """The write that was refused, until ``repair_journals`` succeeds. The ledger goes on without the journals that
        are projected from it; a daemon without a ledger does not go on."""
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
        """Whether the kill switch was tripped when the component was last told of it."""
        return self.progress.halted

    @property
    def streams(self) -> dict[str, ConsumerOffset]:
        """The upstream streams of this daemon and the last entry processed from each."""
        return {producer: self.consumed.get(producer, NO_ENTRY) for producer in topics.upstreams_of(self.name)}

    @property
    def listens(self) -> frozenset[str]:
        """The upstream daemons whose streams this one only listens to."""
        return frozenset(name for name in topics.upstreams_of(self.name) if self.name in topics.listeners_of(name))

    @property
    def origins(self) -> Mapping[str, str]:
        """The identity of each upstream ledger that entries came from."""
        return self.progress.origins

    # ---- recovery

    def recover(self) -> int:
        """Fold the ledger into the component and complete journals that lag behind it; returns the transactions read.

        Raises:
            LedgerCorruptError: the chain does not hold.
        """
        if self.ledger is None:
            return 0
        for transaction in self.ledger.replay(self._start_from_snapshot()):
            self.progress.learn(transaction)
            self.clock.advance_to(transaction.ts_ns)
            recover_transaction(self.component, transaction)
        self._writer.complete(self._project)
        self._check_reserve(self.ledger)
        return self.ledger.seq

    def _start_from_snapshot(self) -> Place | None:
        """Become what the snapshot says, if there is one that fits; the place behind which the ledger is to be read."""
        self.component, snapshot = self._recovery.load_snapshot(self.component)
        if snapshot is None or self._snapshots is None:
            return None
        self.progress = Progress.at(snapshot)
        self.clock.advance_to(snapshot.ts_ns)
        self._snapshots.projected = ProjectionOffset(snapshot.place, snapshot.journals)
        return snapshot.place

    def catch_up(self) -> Sequence[Contract]:
        """Let a component without a ledger learn from the journals what it missed; the events to publish at a start."""
        return self._recovery.catch_up(self.component)

    def _recover_component(self) -> Sequence[Contract]:
        """Replace the component by one in the recorded state; what it has to publish. Raises JournalWriteError."""
        if self.ledger is None:
            self.commit()  # the journals must have what was published already
        else:
            self.ledger.commit()
        self.component, due = self._recovery.recovered()
        self.counters.recoveries += 1
        return due

    # ---- messages in, messages out

    def handle(self, message: Message) -> list[Message]:
        """Process one message off the bus; a ledger entry that was processed before answers nothing.

        Raises:
            LedgerReplacedError: the entry comes from another ledger than those before.
            JournalWriteError: the component failed, and its recorded state cannot be written.
        """
        health: list[Message] = []
        while self._trouble_is_news:
            health += self.report_trouble()
        answers = self._handle_broadcast(message) if message.is_broadcast else self._handle_entry(message)
        return [*health, *answers] if health else answers

    def _handle_broadcast(self, message: Message) -> list[Message]:
        due: list[Message] = []
        if message.seq and self._sequences.may_lack(message) and self._is_journaled(message.topic):
            due = self.publish(self._recover_component())
        answers, note = self._answer(message.event)
        if not answers:
            return due
        return [*due, *self._record(message.event, Cause(message.topic, ""), answers, note)]

    def _is_journaled(self, topic: str) -> bool:
        """Whether what is lost of a topic on its way to here can be recovered from the journals."""
        return self._recovery.from_journals and topics.row_of(topic).journal is not None

    def _handle_entry(self, message: Message) -> list[Message]:
        if self.progress.is_repeat(message):
            self.counters.duplicates += 1
            return []
        event = message.event
        if isinstance(event, StreamGap):
            return self._pass_over(message.producer, event)
        if type(event) is not Unreadable and type(event) not in self.inputs:
            self.consumed[message.producer] = message.entry
            return []
        answers, note = self._answer(event)
        self.progress.processed(message.producer, message.entry)
        return self._record(event, self.progress.cause(message), answers, note, recorded=True)

    def _pass_over(self, producer: str, gap: StreamGap) -> list[Message]:
        """Tell the component, and people, of entries that its upstream keeps no longer; the next one is processed."""
        until = entry_id_of(gap.until)
        count = until[0] - entry_id_of(gap.after)[0]
        self.counters.missed[producer] += count
        self.progress.processed(producer, until)
        text = f"{self.name} was away for too long: {producer} keeps nothing behind {gap.after} up to {gap.until}"
        _log.warning("%s; up to %d transactions are missed, its ledger has them", text, count)
        self._raise_alert("warning", f"entries of {producer} missed", text)
        return self.handle_local(replace(gap, ts_seen_ns=self.clock.now_ns()))

    def handle_local(self, event: Contract) -> list[Message]:
        """Process an event of the daemon's own host: a feed's raw event, the kill switch."""
        topic = f"{LOCAL}{type(event).__name__}"
        if isinstance(event, KillSwitchEvent):
            self.progress.halted = event.tripped
        if topic in LOCAL_CONTRACTS and self.ledger is not None:
            cause = Cause("local", type(event).__name__, topic, event)
            return self._record(event, cause, *self._answer(event), recorded=True)
        answers, note = self._answer(event)
        return self._record(event, Cause("local", type(event).__name__), answers, note) if answers else []

    def publish(self, events: Sequence[Contract]) -> list[Message]:
        """Record events that answer nothing, such as the startup events; the messages to send."""
        return self._record(events[-1], Cause("local", "start"), events, "") if events else []

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
                if self._recovery.from_ledger:
                    self._recover_component()  # one that failed half-way may be in any state
                if tries == TRIES or not self._recovery.from_ledger:
                    self._set_aside(event, error)
                    reason = f"{type(error).__name__}: {error}"
                    self._raise_alert("error", f"{type(event).__name__} set aside after {tries} tries", reason)
                    return (), reason
                tries += 1

    def _record(
        self, event: Contract, cause: Cause, answers: Sequence[Contract], note: str, *, recorded: bool = False
    ) -> list[Message]:
        """Write down what was answered, in the ledger always if it is ``recorded``; the messages to send."""
        self.pending = True
        messages = self._recorder.record(event, cause, answers, note, self.progress, always=recorded)
        self.counters.emitted += len(messages)
        return messages

    def _set_aside(self, event: Contract, error: Exception) -> None:
        self.pending = True
        self.counters.errors[type(error).__name__] += 1
        self._recorder.set_aside(event, error)

    def _raise_alert(self, severity: Severity, title: str, message: str) -> None:
        now = self.clock.now_ns()
        alert_id = f"a-{ids.stem(self.name, title, message, str(now))}"
        self.alerts.append(Alert(alert_id, now, severity, "system", self.name, title, message))

    # ---- the disk

    def commit(self) -> None:
        """Make everything answered so far durable. Only then may the messages leave. Raises JournalWriteError."""
        if self.ledger is None:
            self._writer.write()
        else:
            self.ledger.commit()
            self.reach(IN_JOURNAL)
            self._check_reserve(self.ledger)
            self._writer.flush()
            self._save_snapshot(self.ledger)
        self.pending = False

    def _save_snapshot(self, ledger: Ledger, *, at_end: bool = False) -> None:
        """Save one when enough transactions have come since the last."""
        if self._snapshots is None or self.trouble is not None or not self._snapshots.due(at_end=at_end):
            return
        if ledger.durable:
            ledger.sync()
            self._writer.sync()
        if self.trouble is None:
            self._snapshots.save(self.component, self.progress)

    def _project(self) -> None:
        """Write what the journals lack of the ledger. Raises JournalWriteError."""
        if self.ledger is not None and self._snapshots is not None:
            projections.repair(self.journals, self.ledger.path, self._snapshots.projected)

    def repair_journals(self) -> bool:
        """Try to write what could not be written; whether nothing is left. The component hears of it with the next
        message, or by ``report_trouble``."""
        if self.trouble is None or self.ledger is None:
            return True
        self.ledger.commit()
        if not self.ledger.refresh_reserve():
            return False  # what space there is belongs to the ledger
        if not can_write(self.trouble.path, self.ledger.disk):
            return False  # seen before the ledger is read: that may take seconds, and this is asked often
        self._writer.repair(self._project)
        return self.trouble is None

    def report_trouble(self) -> list[Message]:
        """Tell the component that writing fails, or no longer fails, if it does not know yet."""
        if not self._trouble_is_news:
            return []
        self.progress.trouble_told = self.trouble is not None
        return self.handle_local(JournalHealth(self.trouble is None, str(self.trouble or ""), self.clock.now_ns()))

    @property
    def _trouble_is_news(self) -> bool:
        return self.ledger is not None and self.progress.trouble_told != (self.trouble is not None)

    def _check_reserve(self, ledger: Ledger) -> None:
        """A full disk is trouble while the ledger can still be written out of its reserve."""
        if ledger.strained and self.trouble is None:
            full = OSError(errno.ENOSPC, "the disk is full, the reserve is used")
            self._writer.refused(JournalWriteError(ledger.path, full))

    # ---- the end

    def close(self) -> None:
        """Commit and release every file. Journals that lag behind the ledger are completed by the next start.

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
            if not self.repair_journals():
                _log.error("%s ends without its journals, the next start completes them: %s", self.name, self.trouble)
                self.journals.abandon()
            self.ledger.commit()
            self._save_snapshot(self.ledger, at_end=True)
            self.ledger.close()
        self.journals.close()

    def abandon(self) -> None:
        """Release every file as a crash does: what is not durable never happened."""
        if self.ledger is not None:
            self.ledger.abandon()
        self.journals.abandon()


def _refuse_unwritable(answers: Iterable[Contract]) -> None:
    """Raise TypeError or ValueError for what no ledger can hold: its component failed as if it had raised that."""
    for answer in answers:
        if type(answer) not in topics.BY_CONTRACT:
            raise TypeError(f"expected an answer that has a topic, got {type(answer).__name__}")
        codec.encode(answer)
