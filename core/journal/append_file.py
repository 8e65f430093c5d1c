"""One locked file that whole lines are appended to, on a disk that may refuse, lie or stop at any effect.

What a refused write or a failed sync left behind the last good line is cut off before anything else is written.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from core.disk import Disk
from core.errors import FencedError

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT
_BLOCK: Final = 64 * 1024
_log: Final = logging.getLogger("njord.journal")


class AppendFile:
    """The open file of a journal. Every method raises OSError as the system does, after putting its own books right.

    Args:
        path: the file.
        disk: what it is written through.
        rewrites: whether what was written since the last good sync is kept in memory, so that a failed one can be
            undone: the kernel may report a lost page once and call it clean, so that success afterwards proves nothing.

    Attributes:
        size: bytes of whole lines in the file.
        unsynced: whether the disk has not confirmed some of them.
        interrupted: an effect was left half-way by something other than a refusal. What the file holds is unknown
            until it is opened anew.
    """

    def __init__(self, path: Path, disk: Disk, *, rewrites: bool = False) -> None:
        self.path = path
        self.size = 0
        self.unsynced = False
        self.interrupted = False
        self._disk = disk
        self._rewrites = rewrites
        self._kept: list[bytes] = []  # what was written since the last good sync
        self._kept_bytes = 0
        self._undone: list[bytes] = []
        self._excess = False  # bytes that are no line of ours lie behind ``size``
        self._sync_failed: OSError | None = None
        self._folder_unsynced = False
        self.fd = -1

    @property
    def is_open(self) -> bool:
        """Whether there is a file to write to."""
        return self.fd >= 0

    @property
    def kept_bytes(self) -> int:
        """The bytes kept in memory until the next sync."""
        return self._kept_bytes

    def open(self, flags: int = 0) -> None:
        """Open and lock. Another opener may win the lock of a file that was renamed meanwhile: look again.

        Raises:
            FencedError: another writer has it.
        """
        while True:
            self.fd = self._disk.open(self.path, _FLAGS | flags)
            try:
                self._disk.lock(self.fd)
                self.size = os.fstat(self.fd).st_size
                if _is_at(self.fd, self.path):
                    self.unsynced = self.size > 0  # whoever wrote it may have been killed before the disk had it
                    self._folder_unsynced = True
                    return
            except BlockingIOError:
                self.release()
                raise self.fenced() from None
            except BaseException:
                self.release()
                raise
            self.release()

    def fenced(self) -> FencedError:
        """The error of one who found another writer."""
        return FencedError(
            f"{self.path} is being written by another process (or another journal object of this one); "
            f"expected one writer per file. Stop the other one: `fuser {self.path}` names it."
        )

    def write(self, data: bytes) -> None:
        """Append whole lines. After a refusal ``size`` has grown by those that are in the file, and no half one is."""
        written = 0
        try:
            if self._excess:
                self._cut()
            while written < len(data):
                written += self._disk.write(self.fd, data[written:] if written else data)
        except OSError:
            line_end = data.rfind(b"\n", 0, written) + 1
            self._took(data[:line_end])
            if written > line_end:
                self._excess = True
                self._try_cut()
            raise
        except BaseException:
            self.interrupted = True
            raise
        self._took(data)

    def cut_to(self, size: int) -> None:
        """Leave off what stands behind ``size``."""
        self.size, self._excess, self.unsynced = size, True, True
        self._cut()

    def sync(self) -> None:
        """Wait until the lines are on the disk itself. When it fails, what was written since the last good sync is cut
        off again, for ``take_undone``; without ``rewrites`` every later sync fails too."""
        if self._sync_failed is not None:
            raise self._sync_failed
        if not self.unsynced:
            return
        try:
            if self._excess:
                self._cut()
            self._disk.sync(self.fd)
        except OSError as error:
            if not self._rewrites:
                self._sync_failed = error
            elif self._kept:
                self._undo()
            raise
        except BaseException:
            self.interrupted = True
            raise
        self.unsynced = False
        self._forget_kept()

    def sync_anew(self, count: int) -> None:
        """Sync, after writing the last ``count`` bytes again: whoever wrote them may have seen a sync fail and died."""
        try:
            for start in range(max(0, self.size - count), self.size, _BLOCK):
                data = os.pread(self.fd, min(_BLOCK, self.size - start), start)
                self._disk.rewrite(self.path, start, data)
        except OSError:
            raise
        except BaseException:
            self.interrupted = True
            raise
        self.unsynced = True
        self.sync()

    def take_undone(self) -> bytes:
        """Whole lines that a failed sync cut off, with their newlines: the owner writes them again."""
        undone = b"".join(self._undone)
        self._undone.clear()
        return undone

    def sync_names(self) -> None:
        """Wait until the file's name is on the disk, if it is new."""
        if self._folder_unsynced:
            self._disk.sync_folder(self.path.parent)
            self._folder_unsynced = False

    def rename(self, target: Path) -> None:
        """Give the file another name and release it."""
        try:
            self._disk.rename(self.path, target)
        except OSError:
            raise
        except BaseException:
            self.interrupted = True
            raise
        self.release()
        self._folder_unsynced = True

    def release(self) -> None:
        """Close the file and with it give up the lock. Writes nothing, raises nothing."""
        fd, self.fd, self.size = self.fd, -1, 0
        self._excess, self.unsynced = False, False
        self._forget_kept()
        if fd >= 0:
            try:
                self._disk.close(fd)
            except OSError as error:  # the descriptor is gone all the same, and so is the lock
                _log.error("closing %s: %s", self.path, error)

    def _took(self, lines: bytes) -> None:
        if lines:
            self.size += len(lines)
            self.unsynced = True
            if self._rewrites:
                self._kept.append(lines)
                self._kept_bytes += len(lines)

    def _undo(self) -> None:
        self._undone += self._kept
        self.size -= self._kept_bytes
        self._excess = True
        self._forget_kept()
        self._try_cut()

    def _forget_kept(self) -> None:
        self._kept.clear()
        self._kept_bytes = 0

    def _cut(self) -> None:
        try:
            self._disk.truncate(self.fd, self.size)
        except OSError:
            raise
        except BaseException:
            self.interrupted = True
            raise
        self._excess = False

    def _try_cut(self) -> None:
        try:
            self._cut()
        except OSError as error:  # tried again before the next write
            _log.error("what was refused was left in %s behind byte %d: %s", self.path, self.size, error)


def append_durably(disk: Disk, path: Path, data: bytes) -> None:
    """Add data to a file and wait for the disk. Raises OSError."""
    fd = disk.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        written = 0
        while written < len(data):
            written += disk.write(fd, data[written:])
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.sync_folder(path.parent)


def _is_at(fd: int, path: Path) -> bool:
    """Whether the open file is still the one that the path names."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
