"""The append-only NDJSON journal: one writer per file, whole lines only, nothing lost silently.

Lines gather in memory and reach the operating system in one write per ``flush``. A full disk leaves no
half line behind: the file is cut back to its last whole line and the rest waits in memory.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from core import journal_files
from core.clock import NS_PER_DAY
from core.disk import OS_DISK, Disk
from core.errors import ConfigError, ContractError, FencedError, JournalWriteError

ROTATE_BYTES: Final = 100 * 1024 * 1024
_BUFFER_BYTES: Final = 1024 * 1024  # what gathers in memory before ``append`` flushes by itself
_MODE: Final = 0o644

_log: Final = logging.getLogger("njord.journal")


class NdjsonJournal:
    """Writes one stream of NDJSON lines to ``path`` and rotates it by UTC day of event time and by size.

    Attributes:
        repaired: bytes of a torn last line that opening moved aside to ``{file}.torn``.
        rotations: how often the file was rotated since opening.
    """

    def __init__(
        self, path: Path | str, *, rotate_bytes: int = ROTATE_BYTES, daily: bool = True, disk: Disk = OS_DISK
    ) -> None:
        """Open for appending; parent folders are made, a torn last line is moved aside.

        Args:
            path: the active file, ``{stream}.ndjson``.
            rotate_bytes: the file is rotated once it holds this many bytes; 0: never by size.
            daily: whether the first line of a later UTC day rotates the file.
            disk: what the file is written through.

        Raises:
            ConfigError: the name is that of a rotated file.
            FencedError: another journal object, here or in another process, writes this file.
            JournalWriteError: the file cannot be opened or repaired.
        """
        self.path = Path(path)
        self.repaired = 0
        self.rotations = 0
        self._daily = daily
        self._disk = disk
        self._rotate_bytes = rotate_bytes or sys.maxsize
        self._lines: list[bytes] = []
        self._pending = 0  # bytes in _lines, newlines included
        self._unsynced = False
        self._folder_unsynced = False
        self._sync_failed: OSError | None = None
        self._size = 0  # bytes of whole lines in the file
        self._half_line = False  # bytes of a refused line lie behind them
        self._closed = False
        self._fd = -1
        if journal_files.parse_closed(self.path) is not None:
            raise ConfigError(
                f"cannot write {self.path}: a name with a date is that of a rotated file; "
                f"expected {{stream}}.ndjson, the date is added on rotation"
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
            self._last_line = self._repair()
            self._rotated = journal_files.closed_files(self.path.parent, journal_files.stream_of(self.path))
            self._day = self._known_day()
        except OSError as error:
            self._release()
            raise JournalWriteError(self.path, error) from error
        self._day_end = 0 if self._day is None else (self._day + 1) * NS_PER_DAY

    @property
    def last_line(self) -> bytes | None:
        """The stream's last whole line at opening, without its newline; None in an empty stream.

        Where the file was empty it is read from the latest rotated one.

        Raises:
            FatalError: that rotated file cannot be read.
        """
        if self._last_line is None and self._rotated:
            self._last_line = journal_files.last_line_of(self._rotated[-1].path)
        return self._last_line

    # ---- writing

    def write_lines(self, lines: Iterable[str]) -> None:
        """Append the lines, each with a newline, and flush them.

        Raises:
            ContractError: a line holds a newline; none of the lines is taken.
            JournalWriteError: the disk refused; what is not written is kept for the next ``flush``.
        """
        encoded = [line.encode() for line in lines]
        for line in encoded:
            self._refuse(line)
        self._lines += encoded
        self._pending += sum(map(len, encoded)) + len(encoded)
        self.flush()

    def append(self, line: bytes, ts_ns: int = 0) -> None:
        """Take one line, without its newline, to be written by the next ``flush``.

        Args:
            line: the line.
            ts_ns: event time, UTC epoch ns. The first line of a later day rotates the file; 0 never does.

        Raises:
            ContractError: the line holds a newline.
            JournalWriteError: the memory is full, or rotation is due, and the disk refuses. The line is
                not taken; earlier ones are kept.
        """
        if b"\n" in line or self._closed:
            self._refuse(line)
        if ts_ns >= self._day_end and ts_ns > 0:
            self._begin_day(journal_files.day_of(ts_ns))
        if self._pending >= _BUFFER_BYTES or self._size + self._pending >= self._rotate_bytes:
            self.flush()
        self._lines.append(line)
        self._pending += len(line) + 1

    def flush(self) -> None:
        """Hand all lines taken so far to the operating system in one write; rotate a file grown too large.

        Raises:
            JournalWriteError: the disk refused; the lines it did not take are kept, in order, and the
                next call writes them exactly once.
        """
        if self._lines:
            if self._fd < 0:
                self._reopen()
            self._write(b"\n".join(self._lines) + b"\n")
        if self._size >= self._rotate_bytes:
            self._rotate()

    def sync(self) -> None:
        """Flush, then wait until the lines are on the disk itself.

        Raises:
            JournalWriteError: as ``flush``; or the disk lost what it had accepted, after which every
                further ``sync`` raises until the journal is opened anew.
        """
        self.flush()
        self._sync_data()
        self._sync_names()

    def close(self) -> None:
        """Flush and give up the lock; again is harmless. When flushing raises, the journal stays open."""
        if not self._closed:
            self.flush()
            self._release()
            self._closed = True

    def abandon(self) -> None:
        """Give up the lock without what was not flushed, as a crash does."""
        if not self._closed:
            self._release()
            self._lines, self._pending, self._closed = [], 0, True

    def retire(self) -> Path | None:
        """Flush, give the file its dated name and close; the rotated file, or None when it was empty.

        Raises:
            JournalWriteError: the disk refused; the journal stays open.
        """
        self.flush()
        closed = self._move_away() if self._size else None
        self.close()
        return closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _refuse(self, line: bytes) -> None:
        if self._closed:
            raise ValueError(f"{self.path}: the journal is closed, no line can be appended")
        if b"\n" in line:
            raise ContractError(f"{self.path}: expected a line without a newline, got {line[:120]!r}")

    # ---- the file

    def _write(self, data: bytes) -> None:
        written = 0
        try:
            if self._half_line:
                self._cut_half_line()
            while written < len(data):
                written += os.write(self._fd, data[written:] if written else data)
        except OSError as error:
            whole = data.rfind(b"\n", 0, written) + 1
            self._written(whole, rest=data[whole:])
            if written > whole:
                self._half_line = True
                self._try_cut()
            raise JournalWriteError(self.path, error) from error
        self._written(written, rest=b"")

    def _written(self, count: int, rest: bytes) -> None:
        self._size += count
        self._unsynced = self._unsynced or count > 0
        self._lines = [rest[:-1]] if rest else []
        self._pending = len(rest)

    def _cut_half_line(self) -> None:
        os.ftruncate(self._fd, self._size)
        self._half_line = False

    def _try_cut(self) -> None:
        try:
            self._cut_half_line()
        except OSError as error:  # tried again before the next write
            _log.error("half a line left in %s behind byte %d: %s", self.path, self._size, error)

    def _sync_data(self) -> None:
        if self._sync_failed is not None:
            raise JournalWriteError(self.path, self._sync_failed)
        try:
            if self._unsynced:
                os.fdatasync(self._fd)
                self._unsynced = False
        except OSError as error:
            # The kernel may report a failed write-back once and forget it: success afterwards proves nothing.
            self._sync_failed = error
            raise JournalWriteError(self.path, error) from error

    def _sync_names(self) -> None:
        try:
            if self._folder_unsynced:
                journal_files.sync_folder(self.path.parent)
                self._folder_unsynced = False
        except OSError as error:
            raise JournalWriteError(self.path, error) from error

    def _open(self, flags: int = 0) -> None:
        """Open and lock. Another opener may win the lock of a file that was renamed meanwhile: look again."""
        while True:
            self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | flags, _MODE)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._release()
                raise self._fenced() from None
            self._size = os.fstat(self._fd).st_size
            if _is_at(self._fd, self.path):
                self._folder_unsynced = True
                return
            self._release()

    def _reopen(self) -> None:
        """Go on in a new file after a rotation. Raises FencedError when another process was quicker."""
        try:
            self._open(os.O_EXCL)
        except FileExistsError:
            raise self._fenced() from None
        except OSError as error:
            self._release()
            raise JournalWriteError(self.path, error) from error

    def _fenced(self) -> FencedError:
        return FencedError(
            f"{self.path} is being written by another process (or another journal object of this one); "
            f"expected one writer per file. Stop the other one: `fuser {self.path}` names it."
        )

    def _release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._size = 0

    # ---- opening

    def _repair(self) -> bytes | None:
        """Move a torn last line aside; the last whole line."""
        end, last = journal_files.last_line(self._fd, self._size)
        torn = self._size - end
        if torn:
            aside = self.path.with_name(self.path.name + ".torn")
            _append_durably(aside, os.pread(self._fd, torn, end) + b"\n")
            self._size = end
            self._cut_half_line()
            self._unsynced = True
            self.repaired = torn
            _log.warning("torn last line of %s: %d bytes moved aside to %s", self.path, torn, aside)
        return last

    def _known_day(self) -> int | None:
        """The day of what is written already: never earlier than that of a rotated file, so that names sort."""
        days = [f.day for f in self._rotated]
        if self._size:
            days.append(self._day_written())
        return max(days, default=None)

    def _day_written(self) -> int:
        _, line = journal_files.last_line(self._fd, self._size)
        told = journal_files.line_day(line) if line is not None else None
        return told if told is not None else journal_files.day_of(os.fstat(self._fd).st_mtime_ns)

    # ---- rotation

    def _begin_day(self, day: int) -> None:
        if self._daily and self._day is not None and self._size + self._pending:
            self.flush()
            self._rotate()
        self._day = day
        self._day_end = (day + 1) * NS_PER_DAY

    def _rotate(self) -> None:
        """Give the file its dated name and go on in a new one. All lines taken are written by now."""
        if self._size:
            self._move_away()
            self._reopen()

    def _move_away(self) -> Path:
        self._sync_data()
        try:
            closed = self._closed_path()
            os.rename(self.path, closed)
        except OSError as error:
            raise JournalWriteError(self.path, error) from error
        self._release()
        self._folder_unsynced = True
        self.rotations += 1
        return closed

    def _closed_path(self) -> Path:
        stream = journal_files.stream_of(self.path)
        day = self._day if self._day is not None else self._day_written()
        parts = [f.part for f in journal_files.closed_files(self.path.parent, stream) if f.day == day]
        return self.path.with_name(journal_files.closed_name(stream, day, max(parts, default=-1) + 1))


def _is_at(fd: int, path: Path) -> bool:
    """Whether the open file is still the one that the path names."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _append_durably(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
