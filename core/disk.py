"""The disk of journals and ledgers: the calls that write, in one place, so that a rehearsal can make them fail.

Reading needs no such place: the lines that are read are checked against their hashes. Files and folders that are made
here belong to the daemon's user alone: ledgers and journals name positions, orders and money.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
_PROBE_BYTES: Final = 4096


class Disk:
    """The operating system's disk. Every method raises OSError as the system does."""

    def open(self, path: Path, flags: int) -> int:
        """Open a file and return its descriptor. One that is made is its owner's alone."""
        return open_private(path, flags)

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def lock(self, fd: int) -> None:
        """Lock a file for this writer alone. Raises BlockingIOError when another one has it."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, fd: int, data: bytes) -> int:
        """Append data; the number of bytes taken, which may be fewer."""
        return os.write(fd, data)

    def rewrite(self, path: Path, offset: int, data: bytes) -> None:
        """Write the bytes of a file at ``offset`` once more, so that the next sync has to bring them to the disk.

        A sync that failed leaves pages that count as clean and may never have been written.
        """
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # one for appending would append
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(fd, data[written:], offset + written)
        finally:
            os.close(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file to its first ``size`` bytes."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Wait until the data is on the disk."""
        os.fdatasync(fd)

    def sync_folder(self, path: Path) -> None:
        """Wait until the names in a folder are on the disk."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in place of the file that had it."""
        os.replace(source, target)

    def allocate(self, fd: int, size: int) -> None:
        """Take ``size`` bytes of the disk for a file."""
        os.posix_fallocate(fd, 0, size)

    def remove(self, path: Path) -> None:
        """Remove a file if it exists."""
        path.unlink(missing_ok=True)


OS_DISK: Final = Disk()


def open_private(path: Path, flags: int) -> int:
    """Open a file and return its descriptor. One that is made has mode 600, whatever the umask; another keeps its own.

    Raises:
        OSError: as ``os.open`` does.
    """
    flags |= os.O_CLOEXEC
    if not flags & os.O_CREAT:
        return os.open(path, flags)
    while True:
        try:
            fd = os.open(path, flags | os.O_EXCL, PRIVATE_FILE)
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
        else:
            os.fchmod(fd, PRIVATE_FILE)  # a umask may have taken the owner's own rights
            return fd
        try:
            return os.open(path, flags & ~os.O_CREAT)
        except FileNotFoundError:
            continue  # removed or renamed this moment


def make_private_folders(path: Path) -> None:
    """Make a folder and those above it, each with mode 700, whatever the umask; folders that exist keep theirs.

    Raises:
        OSError: as ``os.mkdir`` does.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        try:
            folder.mkdir(PRIVATE_FOLDER)
        except FileExistsError:
            if not folder.is_dir():
                raise
        else:
            folder.chmod(PRIVATE_FOLDER)


def can_write(path: Path, disk: Disk = OS_DISK) -> bool:
    """True if ``path`` can be opened for appending, and its folder takes a few kilobytes and syncs them."""
    probe = path.with_name(f"{path.name}.probe")
    try:
        make_private_folders(path.parent)
        disk.close(disk.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
        fd = disk.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            written = disk.write(fd, b"\n" * _PROBE_BYTES)
            disk.sync(fd)
        finally:
            disk.close(fd)
            disk.remove(probe)
    except OSError:
        return False
    return written == _PROBE_BYTES
