"""A disk that fails on real files: full, refusing to sync, refusing to open, cut short by a crash or a power loss.

``Machine`` knows how much of every file is synced; a ``FaultyDisk`` is what one incarnation of a daemon sees of it.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from backtest.simulation.world.link import Mortal
from core.disk import Disk

UNLIMITED: Final = 1 << 62
TORN_SHARE: Final = 0.5  # of the crashes at a write that happen in the middle of it


@dataclass
class Machine:
    """The disk that all daemons share.

    Attributes:
        random: draws where a write is torn and what a power loss takes.
        space: bytes left.
        sync_fails: daemons whose syncs are refused.
        open_fails: daemons that may not open files.
        counts: how often each fault happened.
        synced: by file, the bytes that a power loss cannot take.
        syncs: changes with ``synced``.
        forgets: whether a failed sync loses what it was to bring to the disk.
        lost: by file, the byte from which on a failed sync lost what was written: the system takes it for written, and
            no later sync brings it to the disk, unless it is written anew.
    """

    random: Random
    space: int = UNLIMITED
    sync_fails: dict[str, None] = field(default_factory=dict)
    open_fails: dict[str, None] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    synced: dict[Path, int] = field(default_factory=dict)
    syncs: int = 0
    forgets: bool = False
    lost: dict[Path, int] = field(default_factory=dict)

    def lose_power(self) -> None:
        """Cut every file back to somewhere between what was synced and what was written. Nobody may have one open."""
        for path in sorted(self.synced):
            if not path.exists():
                continue
            size, safe = path.stat().st_size, self.synced[path]
            if size > safe:
                kept = self.random.choice((safe, size, self.random.randint(safe, size)))
                os.truncate(path, kept)
                self.counts["file cut short"] += 1
            self.synced[path] = path.stat().st_size
        self.lost.clear()
        self.syncs += 1


class FaultyDisk(Disk):
    """The disk as one incarnation of a daemon sees it. It closes everything when the incarnation ends."""

    def __init__(self, machine: Machine, owner: Mortal, daemon: str) -> None:
        self._machine = machine
        self._owner = owner
        self._daemon = daemon
        self._paths: dict[int, Path] = {}

    def open(self, path: Path, flags: int) -> int:
        self._owner.touch("open")
        if self._daemon in self._machine.open_fails:
            raise self._failure("open refused", errno.EACCES, path)
        exists = path.exists()
        fd = super().open(path, flags)
        self._paths[fd] = path
        if not exists or flags & os.O_TRUNC:
            self._machine.synced[path] = 0
        else:
            self._machine.synced.setdefault(path, os.fstat(fd).st_size)
        self._machine.syncs += 1
        return fd

    def close(self, fd: int) -> None:
        # No touch: closing is no effect, and what a crash leaves open is closed below.
        if self._paths.pop(fd, None) is not None:
            super().close(fd)

    def close_all(self) -> None:
        """Close every file, as the operating system does when a process ends."""
        for fd in list(self._paths):
            self.close(fd)

    def write(self, fd: int, data: bytes) -> int:
        alive = self._owner.alive
        try:
            self._owner.touch("write")
        except BaseException:
            if alive:  # the crash is here
                self._tear(fd, data)
            raise
        path = self._paths[fd]
        room = self._machine.space
        if room <= 0:
            raise self._failure("disk full", errno.ENOSPC, path)
        taken = super().write(fd, data[:room] if room < len(data) else data)
        self._machine.space -= taken
        return taken

    def rewrite(self, path: Path, offset: int, data: bytes) -> None:
        self._owner.touch("rewrite")
        super().rewrite(path, offset, data)
        end = offset + len(data)
        if offset <= self._machine.lost.get(path, -1) < end:  # what counted as clean is to be written again
            if end < path.stat().st_size:
                self._machine.lost[path] = end
            else:
                del self._machine.lost[path]

    def truncate(self, fd: int, size: int) -> None:
        self._owner.touch("truncate")
        path = self._paths[fd]
        self._machine.space += max(0, os.fstat(fd).st_size - size)
        super().truncate(fd, size)
        self._machine.synced[path] = min(self._machine.synced[path], size)
        if size <= self._machine.lost.get(path, size):
            self._machine.lost.pop(path, None)
        self._machine.syncs += 1

    def sync(self, fd: int) -> None:
        self._owner.touch("sync")
        path = self._paths[fd]
        machine, size = self._machine, os.fstat(fd).st_size
        if self._daemon in machine.sync_fails:
            if machine.forgets and size > machine.synced[path]:
                machine.lost.setdefault(path, machine.synced[path])
            raise self._failure("sync refused", errno.EIO, path)
        machine.synced[path] = min(size, machine.lost.get(path, size))
        self._machine.syncs += 1

    def sync_folder(self, path: Path) -> None:
        self._owner.touch("sync_folder")
        if self._daemon in self._machine.sync_fails:
            raise self._failure("sync refused", errno.EIO, path)

    def rename(self, source: Path, target: Path) -> None:
        self._owner.touch("rename")
        super().rename(source, target)
        self._machine.synced[target] = self._machine.synced.pop(source, 0)
        if source in self._machine.lost:
            self._machine.lost[target] = self._machine.lost.pop(source)
        for fd, path in self._paths.items():
            if path == source:
                self._paths[fd] = target

    def allocate(self, fd: int, size: int) -> None:
        self._owner.touch("allocate")
        more = max(0, size - os.fstat(fd).st_size)
        if more > self._machine.space:
            raise self._failure("disk full", errno.ENOSPC, self._paths[fd])
        os.ftruncate(fd, max(size, os.fstat(fd).st_size))  # sparse: the room is counted here, and memory is dear
        self._machine.space -= more

    def remove(self, path: Path) -> None:
        self._owner.touch("remove")
        if path.exists():
            self._machine.space += path.stat().st_size
        super().remove(path)
        self._machine.synced.pop(path, None)
        self._machine.lost.pop(path, None)

    def _tear(self, fd: int, data: bytes) -> None:
        """A crash at a write: nothing of it arrived, or a part, or all of it."""
        if self._machine.random.random() < TORN_SHARE:
            super().write(fd, data[: self._machine.random.randint(0, len(data))])

    def _failure(self, fault: str, number: int, path: Path) -> OSError:
        self._machine.counts[fault] += 1
        return OSError(number, os.strerror(number), str(path))
