"""Snapshots of one host: taken now and then behind what is durable, and loaded into a component that starts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from core.component import Component, Loadable
from core.journal import JournalSet
from core.ledger.ledger import Ledger
from core.ledger.progress import Progress
from core.ledger.projections import ProjectionOffset, digest
from core.ledger.snapshot import Snapshot, SnapshotFile

REJECTED: Final = "rejected"  # the journal of what could not be processed; no projection
_log: Final = logging.getLogger("njord.host")


class SnapshotKeeper:
    """Takes and loads the snapshots beside a ledger.

    Args:
        name: the daemon.
        ledger: its ledger.
        journals: those projected from it.
        every: transactions between two snapshots; 0 for none.

    Attributes:
        projected: the place of the latest snapshot, and what the journals ended with there.
    """

    def __init__(self, name: str, ledger: Ledger, journals: JournalSet, every: int) -> None:
        self.projected: ProjectionOffset | None = None
        self._name = name
        self._ledger = ledger
        self._journals = journals
        self._every = every
        self._file = SnapshotFile(ledger.path, ledger.disk)

    def load(self, component: Component, rebuild: Callable[[], Component]) -> tuple[Component, Snapshot | None]:
        """Load a component, which has seen nothing yet, from the snapshot that fits. Where there is none, the component
        that has still seen nothing."""
        if not self._every or not isinstance(component, Loadable):
            return component, None
        snapshot = self._file.read(self._name, _version(component))
        if snapshot is None:
            return component, None
        try:
            component.load_snapshot(snapshot.state)
        except Exception as error:  # noqa: BLE001 — whatever is wrong with a snapshot, the ledger has it all
            _log.warning("snapshot of %s is passed over, the whole ledger is read: %s", self._name, error)
            return rebuild(), None
        return component, snapshot

    def due(self, *, at_end: bool = False) -> bool:
        """Whether enough has come since the last one; at the end anything is enough."""
        since = self._ledger.seq - (self.projected.place.seq if self.projected is not None else 0)
        return bool(self._every) and since >= (1 if at_end else self._every)

    def save(self, component: Component, progress: Progress) -> None:
        """Write down where the ledger and everything folded from it stand; both are on the disk by now. A snapshot that
        cannot be written is only told."""
        if not isinstance(component, Loadable):
            return
        ledger = self._ledger
        self.projected = ProjectionOffset(ledger.place, self._ends())
        snapshot = Snapshot(
            daemon=self._name,
            ledger=ledger.identity,
            seq=ledger.seq,
            at=ledger.place.hash,
            offset=ledger.place.offset,
            ts_ns=ledger.ts_ns,
            consumed=progress.recorded,
            origins={name: progress.origins[name] for name in sorted(progress.kept)},
            newest_entry=progress.newest_entry,
            halted=progress.halted,
            trouble_told=progress.trouble_told,
            journals=dict(self.projected.journals),
            version=_version(component),
            state=component.snapshot(),
        )
        try:
            self._file.write(snapshot, durable=ledger.durable)
        except (OSError, ValueError) as error:
            _log.warning("no snapshot of %s at transaction %d: %s", self._name, ledger.seq, error)

    def _ends(self) -> dict[str, str]:
        """The end of each projected journal, as ``digest`` gives it."""
        earlier = self.projected.journals if self.projected is not None else {}
        lines = self._journals.last_lines()
        return {**earlier, **{name: digest(line) for name, line in lines.items() if not name.startswith(REJECTED)}}


def _version(component: Component) -> int:
    """Of the form of the component's snapshots."""
    return int(getattr(component, "SNAPSHOT_VERSION", 1))
