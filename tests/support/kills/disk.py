"""Ways to take the disk away from a running process, and to give it back.

A limit on the size of files refuses every write of one process, privileges or not; a folder in the place of a file
refuses that file alone; a small file system of its own gets full as a disk does, where mounting is allowed.
"""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Final

_CHUNK: Final = b"\0" * 65_536


@contextmanager
def refusing_writes(pid: int) -> Iterator[None]:
    """No file of this process takes another byte; sockets do."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def folder_instead_of(path: Path) -> Iterator[None]:
    """A file that does not exist yet cannot be made."""
    path.mkdir(parents=True)
    try:
        yield
    finally:
        path.rmdir()


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[bool]:
    """A file system of so many bytes on ``folder``; False where this user may not mount one."""
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """Not a byte is left in the file system of this folder."""
    filler = folder / "filler"
    try:
        with FileIO(filler, "w") as file:
            _fill(file)
        yield
    finally:
        filler.unlink()


def _fill(file: FileIO) -> None:
    chunk = _CHUNK
    while chunk:
        try:
            file.write(chunk)
        except OSError:
            chunk = chunk[: len(chunk) // 2]
