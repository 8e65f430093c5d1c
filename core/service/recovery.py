"""The recovery of a component: the one way to the state that its records give, at start or after a failure.

A component with a ledger is the snapshot and the transactions behind it. One without learns from the journals what it
missed, and has something to publish then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.component import Component, Durable
from core.contracts import Contract
from core.ledger import Ledger, Snapshot, Transaction, read
from core.ledger.snapshot_keeper import SnapshotKeeper

Rebuild = Callable[[], Component]
CatchUp = Callable[[Component], Sequence[Contract]]


class Recovery:
    """Brings components of one daemon to their recorded state.

    Args:
        rebuild: makes a component that has seen nothing; None where the host was given only the one it has.
        catch_up: lets a component without a ledger learn from the journals, and returns what it has to publish.
        ledger: the daemon's ledger, if it keeps one.
        snapshots: the snapshots beside it.
    """

    def __init__(
        self,
        rebuild: Rebuild | None,
        catch_up: CatchUp | None,
        ledger: Ledger | None,
        snapshots: SnapshotKeeper | None,
    ) -> None:
        self._rebuild = rebuild
        self._catch_up = catch_up
        self._ledger = ledger
        self._snapshots = snapshots

    @property
    def from_ledger(self) -> bool:
        """Whether a new component can be recovered from the ledger."""
        return self._rebuild is not None and self._ledger is not None

    @property
    def from_journals(self) -> bool:
        """Whether a new component can be recovered from the journals."""
        return self._rebuild is not None and self._ledger is None and self._catch_up is not None

    def catch_up(self, component: Component) -> Sequence[Contract]:
        """Let a component learn from the journals what it missed; what it has to publish."""
        return () if self._catch_up is None else self._catch_up(component)

    def load_snapshot(self, component: Component) -> tuple[Component, Snapshot | None]:
        """A component, which has seen nothing yet, as the snapshot says; without one that fits, still without state."""
        if self._snapshots is None or self._rebuild is None:
            return component, None
        return self._snapshots.load(component, self._rebuild)

    def recovered(self) -> tuple[Component, Sequence[Contract]]:
        """A new component in the recorded state, and what it has to publish. Everything answered must be on record."""
        assert self._rebuild is not None, "ask from_ledger or from_journals first"
        component = self._rebuild()
        if self._ledger is None:
            return component, self.catch_up(component)
        component, snapshot = self.load_snapshot(component)
        for transaction in read(self._ledger.path, None if snapshot is None else snapshot.place):
            recover_transaction(component, transaction)
        return component, ()


def recover_transaction(component: Component, transaction: Transaction) -> None:
    """Give a component one of its recorded transactions; one that was set aside changed nothing."""
    if isinstance(component, Durable) and not transaction.note:
        component.recover(transaction.cause.event, [event for _, event in transaction.events])
