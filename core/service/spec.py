"""The specs of the fleet's daemons: how each component is built, recovered and reloaded; and its host on disk.

Apart from ``core.service.launch``, so that the packages that hold the components need no command line to name theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from core.component import Component
from core.config.model import Config
from core.contracts import Contract
from core.daemons import BEHIND_THE_FEED, Daemon, daemon_named
from core.disk import OS_DISK, Disk
from core.errors import ConfigError, JournalWriteError
from core.ledger import Ledger
from core.ledger.snapshot import SNAPSHOT_EVERY
from core.service.host import ComponentHost, JournalSet

RESERVE_BYTES: Final = 4 * 1024 * 1024  # of the disk, for each ledger


@dataclass(frozen=True)
class DaemonSpec:
    """One daemon of the fleet.

    ``name`` is that of its row in the table of daemons; ``build`` makes its component; ``catch_up`` lets a component
    without a ledger learn what it missed from the journals and returns what it has to publish; ``reload`` puts the
    sections ``reloads`` of a changed configuration in force (SIGHUP, ``controller.reload``).
    """

    name: str
    build: Callable[[Config], Component]
    catch_up: Callable[[Any, Config], Sequence[Contract]] | None = None
    reload: Callable[[Any, Config], None] | None = None
    reloads: tuple[str, ...] = ()

    @property
    def row(self) -> Daemon:
        """The daemon's row in the table: port, summary, whether it keeps a ledger and asks the kill switch."""
        return daemon_named(self.name)

    @property
    def ledgered(self) -> bool:
        """Whether the daemon keeps a ledger."""
        return self.row.ledgered

    def reloaded(self, in_force: Config, fresh: Config) -> Config:
        """The configuration in force after a reload: the old one with the sections that ``reload`` replaces."""
        return in_force.model_copy(update={section: getattr(fresh, section) for section in self.reloads})


def load_spec(daemon: Daemon) -> DaemonSpec:
    """The spec that a row of the table of daemons names. Raises ConfigError when its module holds another one."""
    spec = getattr(import_module(daemon.spec), "SPEC", None)
    if not isinstance(spec, DaemonSpec) or spec.name != daemon.name:
        raise ConfigError(f"{daemon.spec}: expected SPEC, the DaemonSpec of {daemon.name}, got {spec!r}")
    return spec


def specs_behind_the_feed() -> tuple[DaemonSpec, ...]:
    """The specs of the daemons that take part in rounds behind the feed, in the order in which they are served."""
    return tuple(load_spec(daemon_named(name)) for name in BEHIND_THE_FEED)


def assemble(
    spec: DaemonSpec,
    config: Config,
    component: Component | None = None,
    *,
    durable: bool = True,
    disk: Disk = OS_DISK,
    trouble: JournalWriteError | None = None,
    current: Callable[[], Config] | None = None,
    reserve_bytes: int = RESERVE_BYTES,
    snapshot_every: int = SNAPSHOT_EVERY,
) -> ComponentHost:
    """The daemon's component with its ledger and journals, under the folders of the configuration.

    Args:
        durable: whether the ledger waits for the disk.
        disk: what the files are written through.
        trouble: what a start before this one could not write.
        current: the configuration to build the component anew from, after a reload; ``config`` when left out.
        reserve_bytes: what the ledger keeps of the disk for the day it is full.
        snapshot_every: transactions between two snapshots; 0 for none.

    Raises:
        JournalWriteError: the ledger cannot be opened.
    """

    def latest() -> Config:
        return current() if current is not None else config

    catch_up = spec.catch_up
    journals = open_journals(config, disk)
    ledger = None
    if spec.ledgered:
        path = config.ledger_dir / f"{spec.name}.ndjson"
        ledger = Ledger(path, durable=durable, disk=disk, reserve_bytes=reserve_bytes if durable else 0)
    return ComponentHost(
        component or spec.build(config),
        journals,
        ledger,
        rebuild=lambda: spec.build(latest()),
        catch_up=None if catch_up is None else lambda component: catch_up(component, latest()),
        trouble=trouble,
        snapshot_every=snapshot_every,
    )


def open_journals(config: Config, disk: Disk = OS_DISK) -> JournalSet:
    """The journals under the configuration's folder."""
    return JournalSet(config.log_dir, rotate_bytes=config.logging.journal_rotate_mb * 1024 * 1024, disk=disk)
