"""The auditor of a running fleet: it reads what becomes durable in the ledgers, and everything the server takes.

A line counts from when it is synced. What reaches the server must be such a line, in the order of its ledger.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from backtest.simulation.world.disk import Machine
from backtest.simulation.world.fleet import Record, reload_target
from backtest.simulation.world.rules import Chain, FleetRules, Plain, parsed
from core.bus.link import Entry
from core.daemons import LEDGERED
from core.service.reload import ACKS


class BrokenError(Exception):
    """A rule is broken: there is no point in going on."""


class _Ledger:
    """A ledger as far as it has been read."""

    def __init__(self, path: Path, rules: FleetRules) -> None:
        self.path = path
        self.offset = 0
        self.chain = Chain(path.stem, rules.fault)
        self.transactions: list[Plain] = []

    def fresh(self, synced: int) -> list[Plain]:
        """The whole lines that were synced since the last look."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.pread(fd, synced - self.offset, self.offset)
        finally:
            os.close(fd)
        end = data.rfind(b"\n") + 1
        self.offset += end
        transactions = list(self.chain.read(data[:end].split(b"\n")[:-1]))
        self.transactions += transactions
        return transactions


class Auditor:
    """Judges one fleet. ``look`` is cheap where nothing was synced since the last time.

    Attributes:
        rules: the rules and what broke them.
        transactions: the number of durable ones.
        reloads: the number of configurations that were put in force.
    """

    def __init__(self, folder: Path, machine: Machine, record: Record) -> None:
        self.rules = FleetRules()
        self.transactions = 0
        self.reloads = 0
        self._machine = machine
        self._record = record
        self._ledgers = {name: _Ledger(folder / f"{name}.ndjson", self.rules) for name in LEDGERED}
        self._seen = 0

    @property
    def ledgers(self) -> dict[str, list[Plain]]:
        """Every transaction that was durable when it was looked at last."""
        return {name: ledger.transactions for name, ledger in self._ledgers.items()}

    def path(self, name: str) -> Path:
        """The file of a ledger."""
        return self._ledgers[name].path

    def look(self) -> None:
        """Read what has become durable. Raises BrokenError."""
        self._stop_if_broken()
        if self._seen == self._machine.syncs:
            return
        self._seen = self._machine.syncs
        batch: list[tuple[str, Plain]] = []
        for name, ledger in self._ledgers.items():
            synced = self._machine.synced.get(ledger.path, 0)
            if synced < ledger.offset:
                self.rules.fault(f"{name}: {ledger.offset - synced} durable bytes of the ledger were taken back")
            elif synced > ledger.offset:
                batch += [(name, transaction) for transaction in ledger.fresh(synced)]
        for name, transaction in batch:
            self._note(name, transaction)
        self.transactions += len(batch)
        self.rules.take(batch)
        self._stop_if_broken()

    def added(self, incoming: Entry) -> None:
        """A stream took an entry; what is wrong with it stops the run at the next ``look``."""
        with suppress(BrokenError):
            self.look()
        producer, place = incoming.key.rpartition(":")[2], incoming.id
        recorded = self.rules.entries[producer].get(place)
        if recorded is None:
            self.rules.fault(f"{producer} sent {place} before it was durable")
        else:
            event = parsed(incoming.payload)
            event.pop("_producer", None)
            event.pop("_seq", None)
            if (incoming.topic, event) != recorded:
                self.rules.fault(f"{producer} sent another {place} than its ledger has")
            if incoming.prev != self.rules.preceding[producer].get(place, (0, 0)):
                self.rules.fault(f"{producer} sent {place} as if it came behind {incoming.prev}")

    def published(self, topic: str, payload: bytes) -> None:
        """Somebody published a message: an answer to a reload must come from the service that was asked."""
        if topic != ACKS:
            return
        ack = parsed(payload)
        service, asked = ack["service"], reload_target(ack["request_id"])
        if service != asked:
            self.rules.fault(f"{service} answered a reload that {asked or 'nobody'} was asked for")
        self.reloads += ack["ok"]

    def _stop_if_broken(self) -> None:
        if self.rules.violations:
            raise BrokenError(self.rules.violations[0])

    def _note(self, name: str, transaction: Plain) -> None:
        topics = ", ".join(message["topic"] for message in transaction["events"]) or "nothing"
        cause = transaction["cause"]
        self._record.note(
            f"{name} durable {transaction['seq']}: {cause.get('topic') or cause['stream']} {cause['id']} -> {topics}"
        )
