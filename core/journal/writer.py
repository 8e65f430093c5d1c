"""The append-only NDJSON journal: one writer per file, whole lines only, nothing lost silently.

Lines gather in memory and reach the operating system in one write per ``flush``. A full disk leaves no
half line behind: the file is cut back to its last whole line and the rest waits in memory.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from core.clock import NS_PER_DAY
from core.disk import OS_DISK, Disk, make_private_folders
from core.errors import ConfigError, ContractError, JournalWriteError
from core.journal import files as journal_files
from core.journal.append_file import AppendFile, append_durably

ROTATE_BYTES: Final = 100 * 1024 * 1024
_BUFFER_BYTES: Final = 1024 * 1024  # what gathers in memory before ``append`` flushes by itself

_log: Final = logging.getLogger("njord.journal")


class NdjsonJournal:
    """Writes one stream of NDJSON lines to ``path`` and rotates it by UTC day of event time and by size.

    Attributes:
        repaired: bytes of a torn last line that opening moved aside to ``{file}.torn``.
        rotations: how often the file was rotated since opening.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        rotate_bytes: int = ROTATE_BYTES,
        daily: bool = True,
        disk: Disk = OS_DISK,
        rewrites: bool = False,
    ) -> None:
        """Open for appending; parent folders are made, a torn last line is moved aside.

        Args:
            path: the active file, ``{stream}.ndjson``.
            rotate_bytes: the file is rotated once it holds this many bytes; 0: never by size.
            daily: whether the first line of a later UTC day rotates the file.
            disk: what the file is written through.
            rewrites: whether lines stay in memory until they are synced, so that a failed ``sync`` can be tried again.
                For files that are synced often.

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
        self._closed = False
        self._file = AppendFile(self.path, disk, rewrites=rewrites)
        if journal_files.parse_closed(self.path) is not None:
            raise ConfigError(
                f"cannot write {self.path}: a name with a date is that of a rotated file; "
                f"expected {{stream}}.ndjson, the date is added on rotation"
            )
        try:
            make_private_folders(self.path.parent)
            self._file.open()
            self._last_line = self._repair()
            self._rotated = journal_files.closed_files(self.path.parent, journal_files.stream_of(self.path))
            self._day = self._known_day()
        except OSError as error:
            self._file.release()
            raise JournalWriteError(self.path, error) from error
        except BaseException:
            self._file.release()
            raise
        self._day_end = 0 if self._day is None else (self._day + 1) * NS_PER_DAY

    @property
    def last_line(self) -> bytes | None:
        """The stream's last whole line, without its newline; None in an empty stream.

        Where the file was empty at opening it is read from the latest rotated one.

        Raises:
            FatalError: that rotated file cannot be read.
        """
        if self._last_line is None and self._rotated:
            self._last_line = journal_files.last_line_of(self._rotated[-1].path)
        return self._last_line

    @property
    def size(self) -> int:
        """Bytes of whole lines in the active file."""
        return self._file.size

    @property
    def kept_bytes(self) -> int:
        """The bytes kept in memory, though written, until the next ``sync``; 0 unless the journal ``rewrites``."""
        return self._file.kept_bytes

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
        self._last_line = encoded[-1] if encoded else self._last_line
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
        if self._pending >= _BUFFER_BYTES or self._file.size + self._pending >= self._rotate_bytes:
            self.flush()
        self._lines.append(line)
        self._last_line = line
        self._pending += len(line) + 1

    def flush(self) -> None:
        """Hand all lines taken so far to the operating system in one write; rotate a file grown too large.

        Raises:
            JournalWriteError: the disk refused; the lines it did not take are kept, in order, and the
                next call writes them exactly once.
        """
        if self._lines:
            if self._file.interrupted:
                self._refuse_interrupted()
            if not self._file.is_open:
                self._reopen()
            self._write(b"\n".join(self._lines) + b"\n")
        if self._file.size >= self._rotate_bytes:
            self._rotate()

    def sync(self) -> None:
        """Flush, then wait until the lines are on the disk itself.

        Raises:
            JournalWriteError: as ``flush``; or the disk lost what it had accepted. A journal that ``rewrites`` has cut
                that off again, and the next call writes it anew; in any other every further ``sync`` raises until
                the journal is opened anew.
        """
        self.flush()
        self._sync_data()
        try:
            self._file.sync_names()
        except OSError as error:
            raise JournalWriteError(self.path, error) from error

    def sync_anew(self, count: int) -> None:
        """Wait until the last ``count`` bytes of what was found on opening are on the disk, whatever became of earlier
        syncs: they are written again first. Raises JournalWriteError.
        """
        try:
            self._file.sync_anew(count)
            self._file.sync_names()
        except OSError as error:
            raise JournalWriteError(self.path, error) from error

    def close(self) -> None:
        """Flush and give up the lock; again is harmless. When flushing raises, the journal stays open.

        One that was interrupted in the middle of an effect is abandoned: only who opens it anew knows what it holds.
        """
        if self._file.interrupted:
            self.abandon()
        elif not self._closed:
            self.flush()
            self._file.release()
            self._closed = True

    def abandon(self) -> None:
        """Give up the lock without what was not flushed, as a crash does. Writes nothing, raises nothing."""
        if not self._closed:
            self._lines, self._pending, self._closed = [], 0, True
            self._file.release()

    def retire(self) -> Path | None:
        """Flush, give the file its dated name and close; the rotated file, or None when it was empty.

        Raises:
            JournalWriteError: the disk refused; the journal stays open.
        """
        self.flush()
        closed = self._move_away() if self._file.size else None
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

    def _refuse_interrupted(self) -> None:
        raise ValueError(f"{self.path}: writing was interrupted half-way; open the journal anew to see what it holds")

    # ---- the file

    def _write(self, data: bytes) -> None:
        size = self._file.size
        try:
            self._file.write(data)
        except OSError as error:
            self._wait_with(data[self._file.size - size :])
            raise JournalWriteError(self.path, error) from error
        self._lines, self._pending = [], 0

    def _wait_with(self, rest: bytes) -> None:
        self._lines, self._pending = [rest[:-1]] if rest else [], len(rest)

    def _sync_data(self) -> None:
        if self._file.interrupted:
            self._refuse_interrupted()
        try:
            self._file.sync()
        except OSError as error:
            self._wait_with(self._file.take_undone())  # everything was flushed: nothing else waits
            raise JournalWriteError(self.path, error) from error

    def _reopen(self) -> None:
        """Go on in a new file after a rotation. Raises FencedError when another process was quicker."""
        try:
            self._file.open(os.O_EXCL)
        except FileExistsError:
            raise self._file.fenced() from None
        except OSError as error:
            raise JournalWriteError(self.path, error) from error

    # ---- opening

    def _repair(self) -> bytes | None:
        """Move a torn last line aside; the last whole line."""
        end, last = journal_files.last_line(self._file.fd, self._file.size)
        torn = self._file.size - end
        if torn:
            aside = self.path.with_name(self.path.name + ".torn")
            append_durably(self._disk, aside, os.pread(self._file.fd, torn, end) + b"\n")
            self._file.cut_to(end)
            self.repaired = torn
            _log.warning("torn last line of %s: %d bytes moved aside to %s", self.path, torn, aside)
        return last

    def _known_day(self) -> int | None:
        """The day of what is written already: never earlier than that of a rotated file, so that names sort."""
        days = [f.day for f in self._rotated]
        if self._file.size:
            days.append(self._day_written())
        return max(days, default=None)

    def _day_written(self) -> int:
        _, line = journal_files.last_line(self._file.fd, self._file.size)
        day = journal_files.line_day(line) if line is not None else None
        return day if day is not None else journal_files.day_of(os.fstat(self._file.fd).st_mtime_ns)

    # ---- rotation

    def _begin_day(self, day: int) -> None:
        if self._daily and self._day is not None and self._file.size + self._pending:
            self.flush()
            self._rotate()
        self._day = day
        self._day_end = (day + 1) * NS_PER_DAY

    def _rotate(self) -> None:
        """Give the file its dated name and go on in a new one. All lines taken are written by now."""
        if self._file.size:
            self._move_away()
            self._reopen()

    def _move_away(self) -> Path:
        self._sync_data()
        try:
            closed = self._closed_path()
            self._file.rename(closed)
        except OSError as error:
            raise JournalWriteError(self.path, error) from error
        self.rotations += 1
        return closed

    def _closed_path(self) -> Path:
        stream = journal_files.stream_of(self.path)
        day = self._day if self._day is not None else self._day_written()
        parts = [f.part for f in journal_files.closed_files(self.path.parent, stream) if f.day == day]
        return self.path.with_name(journal_files.closed_name(stream, day, max(parts, default=-1) + 1))
