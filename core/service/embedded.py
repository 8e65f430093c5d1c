"""A fleet in one process without Redis: the same components and hosts, scheduled in rounds.

A market event enters, every host takes it, what they answer is the next round, until nobody answers
any more. Then the next market event enters. The same feed gives the same bytes in every file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from core.component import Message
from core.contracts import Contract
from core.errors import NjordError
from core.ledger.ledger import messages_after
from core.service.host import ComponentHost

ROUND_LIMIT: Final = 1_000  # rounds that one market event may cause before the fleet is declared to be in a loop
FLUSH_EVERY: Final = 64  # market events between two flushes of the feed's journals

Observer = Callable[[Sequence[Message]], None]


class RunawayError(NjordError):
    """Components keep answering each other; the fleet cannot come to rest."""


class EmbeddedFleet:
    """A source and the hosts behind it, in the order in which they are served within a round.

    Args:
        source: the host of the market data component; its local events come from the feed.
        hosts: everybody else.
        observer: told of every message, round by round, after it is durable.
    """

    def __init__(self, source: ComponentHost, hosts: Sequence[ComponentHost], observer: Observer | None = None) -> None:
        self.source = source
        self.hosts = tuple(hosts)
        self.rounds = 0
        self.messages = 0
        self._observer = observer
        self._unflushed = 0

    def recover(self) -> None:
        """Recover every host, then deliver what a crash left between them."""
        for host in self.hosts:
            host.recover()
        self._settle(list(self._undelivered()))

    def _undelivered(self) -> Iterable[Message]:
        for producer in self.hosts:
            if producer.ledger is None:
                continue
            positions = [
                host.consumed.get(producer.name, (0, 0)) for host in self.hosts if producer.name in host.streams
            ]
            if positions:
                yield from messages_after(producer.ledger.path, producer.name, min(positions))

    def feed(self, event: Contract) -> list[Contract]:
        """Take one raw event of the feed through the fleet; returns the source's local answers, such as requests.

        Raises:
            JournalWriteError: a ledger or journal could not be written; nothing after it happened.
            RunawayError: the fleet did not come to rest.
        """
        messages = self.source.handle_local(event)
        self._unflushed += 1
        if self._unflushed >= FLUSH_EVERY:
            self.source.commit()
            self._unflushed = 0
            self._repair_journals()
        if not messages:
            return []
        local = [message.event for message in messages if not message.topic]
        self._settle([message for message in messages if message.topic] if local else messages)
        return local

    def _repair_journals(self) -> None:
        """Try again to write the journals that could not be written."""
        answers: list[Message] = []
        for host in self.hosts:
            if host.trouble is not None and host.repair_journals():
                answers += host.report_trouble()
                host.commit()
        self._settle(answers)

    def tell(self, event: Contract) -> None:
        """Give every host a local event, such as the kill switch's, and settle what follows."""
        answers: list[Message] = []
        for host in self.hosts:
            if host.ledger is not None:
                answers += host.handle_local(event)
                host.commit()
        self._settle(answers)

    def _settle(self, messages: list[Message]) -> None:
        for _ in range(ROUND_LIMIT):
            if not messages:
                return
            self.rounds += 1
            self.messages += len(messages)
            if self._observer is not None:
                self._observer(messages)
            messages = deliver(self.hosts, messages)
        topics = ", ".join(sorted({message.topic for message in messages}))
        raise RunawayError(
            f"one market event caused more than {ROUND_LIMIT} rounds, the last one on {topics}: "
            "two components answer each other without end"
        )

    def close(self) -> None:
        """Flush and release every file."""
        self.source.close()
        for host in self.hosts:
            host.close()


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
