"""The journals that one daemon writes, opened on first use under one folder and flushed, synced or dropped together."""

from __future__ import annotations

from pathlib import Path

from core.disk import OS_DISK, Disk
from core.journal.writer import NdjsonJournal


class JournalSet:
    """The journals one daemon writes, opened on first use under one folder."""

    def __init__(
        self, folder: Path, *, rotate_bytes: int = 100 * 1024 * 1024, daily: bool = True, disk: Disk = OS_DISK
    ) -> None:
        self.folder = folder
        self._disk = disk
        self._rotate_bytes = rotate_bytes
        self._daily = daily
        self._open: dict[str, NdjsonJournal] = {}
        self._dirty: dict[str, NdjsonJournal] = {}

    def open(self, stream: str) -> NdjsonJournal:
        """The journal of a stream."""
        journal = self._open.get(stream)
        if journal is None:
            path = self.folder / f"{stream}.ndjson"
            journal = self._open[stream] = NdjsonJournal(
                path, rotate_bytes=self._rotate_bytes, daily=self._daily, disk=self._disk
            )
        return journal

    def append(self, stream: str, line: bytes, ts_ns: int) -> None:
        """Add a line; it reaches the file at the next ``flush``."""
        journal = self._open.get(stream) or self.open(stream)
        journal.append(line, ts_ns)
        self._dirty[stream] = journal

    def flush(self) -> None:
        """Hand everything appended to the operating system. Raises JournalWriteError."""
        while self._dirty:
            stream, journal = next(iter(self._dirty.items()))
            journal.flush()
            del self._dirty[stream]

    def close(self) -> None:
        """Flush and release every file."""
        self.flush()
        for journal in self._open.values():
            journal.close()
        self._open.clear()

    def abandon(self) -> None:
        """Release every file without what was not flushed; the next ``append`` opens anew."""
        for journal in self._open.values():
            journal.abandon()
        self._open.clear()
        self._dirty.clear()

    def sync(self) -> None:
        """Wait until the disk has what was flushed to every open file. Raises JournalWriteError."""
        for journal in self._open.values():
            journal.sync()

    def last_lines(self) -> dict[str, bytes | None]:
        """The last line of every open stream."""
        return {stream: journal.last_line for stream, journal in self._open.items()}
