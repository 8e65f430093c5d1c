"""The component, the form of every deciding part of the system, and the message in which its events travel.

A component is plain synchronous Python without I/O, clock or randomness: events in, events out. Time is
the time of the events. Hosts (a daemon, the embedded fleet, the backtester) do everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from core.contracts import Contract
from core.entries import NO_ENTRY, EntryId


@dataclass(frozen=True, slots=True)
class Unreadable(Contract):
    """Bytes that came off the bus and are no message; local to the daemon that received them."""

    topic: str
    raw: str
    reason: str

    @property
    def ts_ns(self) -> int:
        return 0


class Message(NamedTuple):
    """An event on its way. ``seq`` numbers a broadcast per producer and topic; ``entry`` places a ledger
    event in its producer's stream as ``(transaction, index)``, ``(0, 0)`` for a broadcast. ``prev`` is the entry
    before it in that stream, so that a hole shows; ``ledger`` names the ledger it comes from, so that another one
    under the same name shows."""

    topic: str
    event: Contract
    producer: str = ""
    seq: int = 0
    entry: EntryId = NO_ENTRY
    prev: EntryId = NO_ENTRY
    ledger: str = ""

    @property
    def is_broadcast(self) -> bool:
        """Whether it is in no stream, so that it may be lost and has no place of its own."""
        return self.entry == NO_ENTRY


class Component(Protocol):
    """A decision maker. The same input in the same order gives the same output."""

    name: str

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """Take one event in and answer with zero or more. Must not block, read a clock or do I/O."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """A component that has something to say on its daemon's health page."""

    def report(self) -> dict[str, Any]:
        """Plain JSON values, by names that no other part of the page has."""
        ...


@runtime_checkable
class Durable(Protocol):
    """A component whose state outlives the process: a fold over its ledger."""

    def recover(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        """Take back one transaction: what was processed and what was answered then. Decides nothing."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """The durable state as plain JSON values, equal after ``recover`` of all that ``on_event`` answered."""
        ...


@runtime_checkable
class Loadable(Durable, Protocol):
    """A durable component that can start from a snapshot instead of its whole ledger.

    Its class carries ``SNAPSHOT_VERSION`` (1 when left out): another one when what ``snapshot`` gives changes its
    form or its meaning, so that nothing older is loaded.
    """

    def load_snapshot(self, snapshot: Mapping[str, Any], /) -> None:
        """Become, having seen nothing yet, the component that ``snapshot`` describes. May raise anything when it does
        not fit the configuration: the host then makes the component anew and folds the whole ledger."""
        ...
