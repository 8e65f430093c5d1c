"""The records of one host: answers into its ledger and journals, and the messages in which they leave."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from core import codec, topics
from core.clock import EventClock
from core.component import Message
from core.contracts import Contract
from core.journal.batch import JournalWriter
from core.ledger import Cause, Ledger
from core.ledger.progress import Progress
from core.ledger.snapshot_keeper import REJECTED
from core.topics import Delivery

_log: Final = logging.getLogger("njord.host")


class Recorder:
    """Writes what a component answered, numbers it, and makes messages of it. Nothing is durable before a commit.

    Args:
        name: the daemon.
        ledger: its ledger, if it keeps one.
        journals: where the topics' journals are written.
        clock: dates transactions, by the time of events.
    """

    def __init__(self, name: str, ledger: Ledger | None, journals: JournalWriter, clock: EventClock) -> None:
        self._name = name
        self._ledger = ledger
        self._journals = journals
        self._clock = clock
        self._broadcasts: dict[str, int] = {}  # the last sequence by topic

    def record(
        self, event: Contract, cause: Cause, answers: Sequence[Contract], note: str, progress: Progress, *, always: bool
    ) -> list[Message]:
        """Write down what was answered to an event; the messages to send once that is durable.

        Args:
            event: what the component was given.
            cause: what the ledger says of it; its id is the event's own where the cause has none.
            answers: what the component answered.
            note: why the event was set aside; empty when it was not.
            progress: takes the new end of the daemon's stream.
            always: whether the ledger has it even when nothing was answered on a topic that goes through the ledger.
        """
        rows = [topics.BY_CONTRACT.get(type(answer)) for answer in answers]
        seq, ledger_id = 0, ""
        if self._ledger is not None and (always or any(row and row.delivery is Delivery.LEDGER for row in rows)):
            named = cause if cause.id else cause._replace(id=identity(event))
            seq = self._ledger.append(self._clock.now_ns(), named, answers, note)
            ledger_id = self._ledger.identity
        messages: list[Message] = []
        for index, (row, answer) in enumerate(zip(rows, answers, strict=True)):
            if row is None:  # local to this daemon's host
                messages.append(Message("", answer, self._name))
                continue
            journal = row.journal_name(answer, self._name)
            if journal is not None:
                self._journals.append(journal, codec.encode(answer), answer.ts_ns)
            topic = row.name(answer)
            if seq and row.delivery is Delivery.LEDGER:
                prev, progress.newest_entry = progress.newest_entry, (seq, index)
                messages.append(Message(topic, answer, self._name, seq, (seq, index), prev, ledger_id))
            else:
                self._broadcasts[topic] = sequence = self._broadcasts.get(topic, 0) + 1
                messages.append(Message(topic, answer, self._name, sequence))
        return messages

    def set_aside(self, event: Contract, error: Exception) -> None:
        """Write an event that could not be processed to the journal of those, with the reason."""
        now = self._clock.now_ns()
        line = {
            "ts_ns": now,
            "daemon": self._name,
            "contract": type(event).__name__,
            "error": type(error).__name__,
            "reason": str(error),
            "event": event.to_dict(),
        }
        self._journals.append(f"{REJECTED}.{self._name}", codec.encode_plain(line), now)
        _log.warning("%s set aside a message: %s", self._name, error)


def identity(event: Contract) -> str:
    """The name of a broadcast event in a ledger: its own id where it has one, otherwise its time."""
    return getattr(event, "trade_id", "") or str(event.ts_ns)
