"""Faults planted in the real classes: the rehearsal must find each of them, and be silent about the same seeds without.

A rehearsal that finds nothing proves nothing until it has been seen to find what is there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import pytest

from backtest.simulation.rehearsal import rehearse
from core import ids
from core.bus.cursors import StreamCursors
from core.bus.link import Entry
from core.component import Message
from core.contracts import Contract, FillEvent, TradeEvent
from core.entries import EntryId
from core.journal.append_file import AppendFile
from core.ledger import Ledger
from core.service.host import ComponentHost
from core.service.processing import Processor
from core.service.recovery import recover_transaction
from core.service.reload import Reloader
from core.service.stream_keeper import StreamKeeper
from execution.paper_venue import PaperVenue

Plant = Callable[[], AbstractContextManager[Any]]
SEEDS = range(1, 21)  # within which each must be found
MINUTES = 0.6


@contextmanager
def acknowledge_before_sync() -> Iterator[None]:
    """What was only handed to the operating system is sent."""
    with patch.object(Ledger, "sync", lambda self: self._journal.flush()):
        yield


@contextmanager
def relay_before_journal() -> Iterator[None]:
    """What was answered is sent, then written."""

    async def send(self: Processor, messages: Sequence[Message]) -> None:
        await self._relay.send(messages)
        await self.commit()

    with patch.object(Processor, "send", send):
        yield


@contextmanager
def fill_ids_by_chance() -> Iterator[None]:
    """A fill's id does not derive from its order."""
    with patch.object(ids, "fill_id", lambda order_id, count: f"f-{random.getrandbits(64):x}"):
        yield


@contextmanager
def state_beside_the_ledger() -> Iterator[None]:
    """A trade that answered nothing changes what the venue keeps."""
    genuine = PaperVenue._on_trade

    def on_trade(self: PaperVenue, trade: TradeEvent) -> list[Contract]:
        answers = genuine(self, trade)
        self._used.add(trade.symbol, trade.ts, trade.trade_id)
        return answers

    with patch.object(PaperVenue, "_on_trade", on_trade):
        yield


@contextmanager
def forgets_what_it_processed() -> Iterator[None]:
    """A start begins the streams from their beginning."""
    genuine = ComponentHost.recover

    def recover(self: ComponentHost) -> int:
        count = genuine(self)
        self.consumed.clear()
        return count

    with patch.object(ComponentHost, "recover", recover):
        yield


@contextmanager
def counts_a_redelivered_fill() -> Iterator[None]:
    """An entry that comes again reaches the component, beside the ledger."""
    genuine = ComponentHost.handle

    def handle(self: ComponentHost, message: Message) -> list[Message]:
        if isinstance(message.event, FillEvent) and message.entry <= self.consumed.get(message.producer, (0, 0)):
            self.component.on_event(message.event)
        return genuine(self, message)

    def advance(self: StreamCursors, entry: Entry) -> bool:
        self._cursors[entry.key].offset = max(entry.id, self._cursors[entry.key].offset)
        return True

    with patch.object(ComponentHost, "handle", handle), patch.object(StreamCursors, "advance", advance):
        yield


@contextmanager
def skips_holes() -> Iterator[None]:
    """A reader takes what it finds, whatever should have come before; and a lost stream begins with its end."""

    def advance(self: StreamCursors, entry: Entry) -> bool:
        cursor = self._cursors[entry.key]
        fresh = entry.id > cursor.offset
        cursor.offset = max(cursor.offset, entry.id)
        return fresh

    async def beginning(self: StreamKeeper, ledger: Ledger) -> EntryId:
        return self._host.newest_entry  # so that the newest entry is all it has

    with patch.object(StreamCursors, "advance", advance), patch.object(StreamKeeper, "_beginning", beginning):
        yield


@contextmanager
def trims_past_a_consumer() -> Iterator[None]:
    """The stream keeps its newest entry only, whoever needs more."""

    async def serve_readers(self: StreamKeeper, ledger: Ledger) -> None:
        await self._bus.trim(self._host.name, self._host.newest_entry)

    with patch.object(StreamKeeper, "serve_readers", serve_readers):
        yield


@contextmanager
def trusts_what_only_looks_synced() -> Iterator[None]:
    """A start syncs the end of a ledger without writing it again, as if no sync could have failed before."""

    def sync_anew(self: AppendFile, count: int) -> None:
        self.unsynced = True
        self.sync()

    with patch.object(AppendFile, "sync_anew", sync_anew):
        yield


@contextmanager
def snapshot_one_transaction_late() -> Iterator[None]:
    """The transaction behind a snapshot is taken for one that the snapshot has."""

    def recover(self: ComponentHost) -> int:
        if self.ledger is None:
            return 0
        place = self._start_from_snapshot()
        for transaction in self.ledger.replay(place):
            self.progress.learn(transaction)
            self.clock.advance_to(transaction.ts_ns)
            if place is None or transaction.seq > place.seq + 1:
                recover_transaction(self.component, transaction)
        self._writer.complete(self._project)
        return self.ledger.seq

    with patch.object(ComponentHost, "recover", recover):
        yield


@contextmanager
def reloads_whoever_is_asked() -> Iterator[None]:
    """Every daemon obeys every request for a reload."""

    def take(self: Reloader, request: Mapping[str, Any]) -> None:
        self.reload(request["request_id"])

    with patch.object(Reloader, "take", take):
        yield


PLANTED: tuple[tuple[Plant, str, str], ...] = (
    (acknowledge_before_sync, "all", "before it was durable"),
    (relay_before_journal, "all", "before it was durable"),
    (fill_ids_by_chance, "none", ""),
    (state_beside_the_ledger, "none", "used_trades in memory"),
    (forgets_what_it_processed, "all", "twice or out of order"),
    (counts_a_redelivered_fill, "redeliver,restore,crash", "in memory is"),
    (skips_holes, "flush,restore,crash", "never processed"),
    (trims_past_a_consumer, "crash,disconnect", "not at rest"),
    (trusts_what_only_looks_synced, "lost-sync,crash", "before it was durable"),
    (snapshot_one_transaction_late, "crash", "in memory is"),
    (reloads_whoever_is_asked, "reload,crash", "answered a reload that"),
)
FOUND_QUICKLY = (acknowledge_before_sync, state_beside_the_ledger)


def _parameters(plant: Plant, faults: str, breach: str) -> object:
    marks = () if plant in FOUND_QUICKLY else (pytest.mark.full,)
    return pytest.param(plant, faults, breach, marks=marks, id=plant.__name__)


@pytest.mark.parametrize(("plant", "faults", "breach"), [_parameters(*planted) for planted in PLANTED])
def test_a_planted_fault_is_found_and_without_it_the_same_seed_is_sound(plant: Plant, faults: str, breach: str) -> None:
    for seed in SEEDS:
        with plant():
            spoiled = rehearse(seed, minutes=MINUTES, faults=faults)
        sound = rehearse(seed, minutes=MINUTES, faults=faults)
        assert sound.violations == ()
        if spoiled.violations:
            assert breach in spoiled.violations[0]
            return
        if plant is fill_ids_by_chance and spoiled.sha256 != sound.sha256:
            with plant():  # nothing it wrote contradicts itself, but what is not derived is not the same again
                assert rehearse(seed, minutes=MINUTES, faults=faults).sha256 != spoiled.sha256
            return
    pytest.fail(f"{plant.__name__} was not found within {len(SEEDS)} seeds")
