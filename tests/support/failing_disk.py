"""Disks that refuse, lie or stop, for tests of what is written through them."""

from __future__ import annotations

import errno
from pathlib import Path

from core.disk import Disk


class Crash(BaseException):
    """The process ends here, as by SIGKILL: nothing catches it."""


class FailingDisk(Disk):
    """A disk with switches.

    Attributes:
        space: bytes that ``write`` and ``allocate`` may still take; None for any number.
        sync_fails, truncate_fails: while true, those are refused with EIO.
        crash_after: effects until the process ends; half of a write's data still arrives. None for never.
    """

    def __init__(self) -> None:
        self.space: int | None = None
        self.sync_fails = self.truncate_fails = False
        self.crash_after: int | None = None
        self.effects = 0
        self.dead = False

    def open(self, path: Path, flags: int) -> int:
        self._pass()
        return super().open(path, flags)

    def write(self, fd: int, data: bytes) -> int:
        if self._ends():
            super().write(fd, data[: len(data) // 2])
            raise Crash
        if self.space is None:
            return super().write(fd, data)
        if self.space == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(fd, data[: self.space])
        self.space -= written
        return written

    def rewrite(self, path: Path, offset: int, data: bytes) -> None:
        self._pass()
        super().rewrite(path, offset, data)

    def truncate(self, fd: int, size: int) -> None:
        self._pass()
        if self.truncate_fails:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(fd, size)

    def sync(self, fd: int) -> None:
        self._pass()
        if self.sync_fails:
            raise OSError(errno.EIO, "Input/output error")
        super().sync(fd)

    def sync_folder(self, path: Path) -> None:
        self._pass()
        super().sync_folder(path)

    def rename(self, source: Path, target: Path) -> None:
        self._pass()
        super().rename(source, target)

    def allocate(self, fd: int, size: int) -> None:
        self._pass()
        if self.space is not None:
            if self.space < size:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.space -= size
        super().allocate(fd, size)

    def remove(self, path: Path) -> None:
        self._pass()
        if self.space is not None and path.exists():
            self.space += path.stat().st_size
        super().remove(path)

    def _pass(self) -> None:
        if self._ends():
            raise Crash

    def _ends(self) -> bool:
        self.effects += 1
        if self.crash_after is not None and self.effects > self.crash_after:
            assert not self.dead, "a dead process wrote"
            self.dead = True
            return True
        return False
