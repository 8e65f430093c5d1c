"""The files of a journal: their names, the order in which they were written, and the time of a line.

The active file is ``{stream}.ndjson``. Rotated away it is ``{stream}.{YYYYMMDD}.ndjson``, further ones of
the same day ``{stream}.{YYYYMMDD}.{n}.ndjson``; compressed they end in ``.ndjson.gz``.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final, NamedTuple

from core.clock import NS_PER_DAY
from core.codec import decode_plain
from core.errors import CodecError, FatalError

SUFFIX: Final = ".ndjson"
GZ: Final = ".gz"
UNREADABLE: Final = (OSError, EOFError, zlib.error)  # what reading a broken gzip file raises
_CLOSED: Final = re.compile(r"(?P<stream>.+)\.(?P<day>\d{8})(?:\.(?P<part>[1-9]\d*))?\.ndjson(?P<gz>\.gz)?")
_EPOCH_ORDINAL: Final = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_TAIL_BYTES: Final = 64 * 1024  # one step of the search for the last line
_RECEIVED: Final = "ts_recv_ns"  # when a line reached us, not when it happened


class ClosedFile(NamedTuple):
    """A rotated file. ``day`` counts from the epoch; sorting gives the order of writing."""

    stream: str
    day: int
    part: int
    path: Path

    @property
    def compressed(self) -> bool:
        """Whether the file is gzip."""
        return self.path.name.endswith(GZ)


def stream_of(active: Path) -> str:
    """The stream that an active file holds."""
    return active.name.removesuffix(SUFFIX)


def active_path(folder: Path, stream: str) -> Path:
    """The file that the stream's writer appends to."""
    return folder / f"{stream}{SUFFIX}"


def closed_name(stream: str, day: int, part: int) -> str:
    """The plain file name of the ``part``-th rotation (from 0) of a day (from the epoch)."""
    date = datetime.fromordinal(day + _EPOCH_ORDINAL).strftime("%Y%m%d")
    return f"{stream}.{date}{SUFFIX}" if part == 0 else f"{stream}.{date}.{part}{SUFFIX}"


def parse_closed(path: Path) -> ClosedFile | None:
    """The stream, day and part that a rotated file's name gives, or None for any other file."""
    match = _CLOSED.fullmatch(path.name)
    if match is None:
        return None
    try:
        date = datetime.strptime(match["day"], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:  # eight digits that are no date belong to the stream's name
        return None
    return ClosedFile(match["stream"], date.toordinal() - _EPOCH_ORDINAL, int(match["part"] or 0), path)


def closed_files(folder: Path, stream: str | None = None) -> list[ClosedFile]:
    """The rotated files of a folder in order of writing, of one stream or of all; plain before compressed."""
    return sorted(_scan(folder, stream), key=lambda f: (f.stream, f.day, f.part, f.compressed))


def _scan(folder: Path, stream: str | None) -> Iterator[ClosedFile]:
    prefix = "" if stream is None else f"{stream}."
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(prefix):
                continue
            closed = parse_closed(folder / entry.name)
            if closed is not None and (stream is None or closed.stream == stream):
                yield closed


def open_closed(path: Path) -> IO[bytes] | gzip.GzipFile:
    """A rotated file for reading, decompressed; found too when it was compressed a moment ago. Raises OSError."""
    if not path.name.endswith(GZ):
        try:
            return path.open("rb")
        except FileNotFoundError:
            path = path.with_name(path.name + GZ)
    return gzip.open(path)


def last_line_of(closed: Path) -> bytes | None:
    """The last line of a rotated file, without its newline. Raises FatalError on a file that cannot be read."""
    line = None
    try:
        with open_closed(closed) as file:
            if not isinstance(file, gzip.GzipFile):
                return last_line(file.fileno(), os.fstat(file.fileno()).st_size)[1]
            for line in file:  # noqa: B007  # the last one is wanted
                pass
    except UNREADABLE as error:
        raise FatalError(f"cannot read {closed}: {error}; restore it from a backup or move it aside") from error
    return None if line is None else line.removesuffix(b"\n")


def last_line(fd: int, size: int) -> tuple[int, bytes | None]:
    """The end of the last whole line (its newline included), and that line without it."""
    tail = b""
    start = size
    while start > 0 and tail.count(b"\n") < 2:
        step = min(_TAIL_BYTES, start)
        start -= step
        tail = os.pread(fd, step, start) + tail
    last = tail.rfind(b"\n")
    if last < 0:
        return 0, None
    return start + last + 1, tail[tail.rfind(b"\n", 0, last) + 1 : last]


def last_lines(path: Path, count: int) -> list[bytes]:
    """The last whole lines of a file, ``count`` at most, without their newlines, the latest first."""
    try:
        with path.open("rb") as file:
            start = size = os.fstat(file.fileno()).st_size
            tail = b""
            while start > 0 and tail.count(b"\n") <= count:
                step = min(_TAIL_BYTES, start)
                start -= step
                tail = os.pread(file.fileno(), size - start, start)
    except FileNotFoundError:
        return []
    lines = tail.split(b"\n")[:-1]  # behind the last newline there is half a line, or nothing
    return lines[::-1][:count] if start == 0 else lines[:0:-1][:count]


def sync_folder(folder: Path) -> None:
    """Wait until names made, changed or removed in the folder are on the disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def day_of(ts_ns: int) -> int:
    """The UTC day, counted from the epoch."""
    return ts_ns // NS_PER_DAY


def line_day(line: bytes) -> int | None:
    """The UTC day that a journal line is about, by its own timestamps, or None when it carries none."""
    try:
        fields = decode_plain(line)
    except CodecError:
        return None
    if not isinstance(fields, dict):
        return None
    for name in ("ts_ns", "ts"):
        if isinstance(fields.get(name), int):
            return day_of(fields[name])
    times = [v for k, v in fields.items() if k.startswith("ts_") and k != _RECEIVED and isinstance(v, int)]
    return day_of(max(times)) if times else None
