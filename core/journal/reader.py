"""Journals read back: one continuous stream in order of writing across plain, rotated and compressed files.

Reading takes no lock and may go on beside the writer and the compressor: each line comes once. Only the
active file may end in half a line, which its writer is still busy with or a crash left behind.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeVar

from core.clock import NS_PER_S
from core.codec import decode
from core.contracts import Contract, OHLCVBar
from core.errors import CodecError, ConfigError, FatalError, RejectedError
from core.instruments import file_symbol
from core.journal import files as journal_files
from core.journal.files import UNREADABLE, ClosedFile
from core.timeframes import timeframe_ns

C = TypeVar("C", bound=Contract)

FOREVER: Final = sys.maxsize
_LISTINGS: Final = 20  # attempts to see a folder at rest while files are rotated and compressed
_SLACK_DAYS: Final = 1  # how much later than its event a line may have been written
_LATE_NS: Final = 60 * NS_PER_S  # and how much later where only the latest ones are asked for
_NEAR_BYTES: Final = 64 * 1024  # within which halving is not worth it

_log: Final = logging.getLogger("njord.journal_reader")


class Line(NamedTuple):
    """One line, without its newline, and where it stands (counted from 1)."""

    path: Path
    number: int
    data: bytes


class JournalReader:
    """Reads the journals of a folder, or one journal file alone.

    Attributes:
        torn_bytes: length of the half line at the end of the active file last read to its end; 0 for none.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigError when there is nothing at the path."""
        self.path = Path(path)
        self.torn_bytes = 0
        if not self.path.exists():
            raise ConfigError(f"no journals at {path}: expected a folder such as var/log/njord, or a journal file")

    def read_bars(self, symbol: str, timeframe: str, start: int = 0, end: int = FOREVER) -> Iterator[OHLCVBar]:
        """The bars that open in ``[start, end)``, UTC epoch ns, in order of writing.

        Args:
            symbol: ``ATOM/USDT`` or ``ATOMUSDT``.

        Raises:
            ConfigError: no such timeframe.
            CodecError: a malformed line; the text names file and line.
            FatalError: a file that cannot be read.
        """
        longest = timeframe_ns(timeframe)
        stream = f"ohlcv.{timeframe}.{file_symbol(symbol)}"
        for bar in self.read(stream, OHLCVBar, start, min(end, FOREVER - longest) + longest):
            # File names do not tell A/BC from AB/C, and one file alone may hold anything.
            named = symbol in (bar.symbol, file_symbol(bar.symbol))
            if start <= bar.ts_open < end and named and bar.timeframe == timeframe:
                yield bar

    def read(self, stream: str, contract: type[C], start: int = 0, end: int = FOREVER) -> Iterator[C]:
        """The events of a stream with ``start <= ts_ns < end``, UTC epoch ns, in order of writing.

        Files of other days are skipped by their names; an event that was written more than a day late
        may be missed, unless no range is given.

        Raises:
            CodecError: a malformed line; the text names file and line.
            FatalError: a file that cannot be read.
        """
        for line in self._lines(stream, start, end):
            try:
                event = decode(contract, line.data)
            except RejectedError as error:
                raise CodecError(f"{line.path}:{line.number}: {error}") from error
            if start <= event.ts_ns < end:
                yield event

    def read_latest(self, stream: str, contract: type[C], start: int) -> Iterator[C]:
        """The events of a stream at or after ``start``, without reading a day of them before.

        The place in the active file is found by halving, so an event that was written more than ``_LATE_NS`` of
        market time after later ones may be missed; ``read`` misses none. Raises as ``read`` does.
        """
        with ExitStack() as opened:
            _, active = self._sources(stream, opened)
            if active is None or not _begins_before(active, contract, start - _LATE_NS):
                yield from self.read(stream, contract, start)
                return
            path = self._active_path(stream)
            active.seek(_place_of(active, contract, start - _LATE_NS))
            for line in self._active_lines(active, path):
                try:
                    event = decode(contract, line.data)
                except RejectedError as error:
                    raise CodecError(f"{path}, line {line.number} of those since {start}: {error}") from error
                if event.ts_ns >= start:
                    yield event

    def lines(self, stream: str) -> Iterator[bytes]:
        """Every line of a stream, without its newline, in order of writing. Raises as ``read`` does."""
        return (line.data for line in self._lines(stream, 0, FOREVER))

    def last(self, stream: str, contract: type[C]) -> C | None:
        """The last event of a stream, found without reading what is before it; None in an empty stream.

        Raises as ``read`` does.
        """
        with ExitStack() as opened:
            closed, active = self._sources(stream, opened)
            line = None
            if active is not None:
                line = journal_files.last_line(active.fileno(), os.fstat(active.fileno()).st_size)[1]
            if line is None and closed:
                line = journal_files.last_line_of(closed[-1].path)
        try:
            return None if line is None else decode(contract, line)
        except RejectedError as error:
            raise CodecError(f"{self.path}: last line of {stream}: {error}") from error

    def files(self, stream: str) -> list[Path]:
        """The files of a stream in order of writing, the active one last."""
        with ExitStack() as opened:
            closed, active = self._sources(stream, opened)
            return [f.path for f in closed] + ([] if active is None else [self._active_path(stream)])

    def streams(self) -> list[str]:
        """The names of all streams in the folder, sorted."""
        active = {journal_files.stream_of(p) for p in self.path.glob(f"*{journal_files.SUFFIX}") if not _is_closed(p)}
        return sorted(active | {f.stream for f in journal_files.closed_files(self.path)})

    def _active_path(self, stream: str) -> Path:
        return self.path if self.path.is_file() else journal_files.active_path(self.path, stream)

    def _lines(self, stream: str, start: int, end: int) -> Iterator[Line]:
        """The lines of all files that may hold an event of the range."""
        with ExitStack() as opened:
            closed, active = self._sources(stream, opened)
            for file in closed:
                if file.day >= journal_files.day_of(start) - _SLACK_DAYS:
                    yield from _closed_lines(file.path, journal_files.day_of(end) + _SLACK_DAYS)
            if active is not None:
                yield from self._active_lines(active, self._active_path(stream))

    def _active_lines(self, file: IO[bytes], path: Path) -> Iterator[Line]:
        self.torn_bytes = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                self.torn_bytes = len(line)
                _log.warning("%s:%d: half a line of %d bytes at the end is left out", path, number, len(line))
                return
            yield Line(path, number, line[:-1])

    def _sources(self, stream: str, opened: ExitStack) -> tuple[list[ClosedFile], IO[bytes] | None]:
        """The rotated files and the open active file, as they were at one moment."""
        if self.path.is_file():
            alone = journal_files.parse_closed(self.path)
            return ([alone], None) if alone else ([], opened.enter_context(self.path.open("rb")))
        path = self._active_path(stream)
        for _ in range(_LISTINGS):
            active = _open_if_there(path, opened)
            closed = _each_once(journal_files.closed_files(self.path, stream))
            # A listing may miss a file that is compressed meanwhile, and the active file may be rotated.
            again = _each_once(journal_files.closed_files(self.path, stream))
            if _places(closed) == _places(again) and _is_still(active, path):
                return closed, active
            opened.close()
        raise FatalError(
            f"{self.path}: the files of {stream} changed {_LISTINGS} times while they were listed; try again"
        )


def _begins_before(file: IO[bytes], contract: type[Contract], ts_ns: int) -> bool:
    """Whether the first line of a file is about an earlier time."""
    file.seek(0)
    first = _time_of(file.readline(), contract)
    return first is not None and first < ts_ns


def _place_of(file: IO[bytes], contract: type[Contract], ts_ns: int) -> int:
    """The start of the last line before ``ts_ns``, or of one not far before it, in a file whose first line is."""
    low, high = 0, os.fstat(file.fileno()).st_size  # a line about an earlier time begins at low
    while high - low > _NEAR_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        begins = file.tell()
        at = _time_of(file.readline(), contract)
        if begins >= high or at is None or at >= ts_ns:
            high = middle
        else:
            low = begins
    return low


def _time_of(line: bytes, contract: type[Contract]) -> int | None:
    """The time of a complete line; None for half a line or something else."""
    try:
        return decode(contract, line[:-1]).ts_ns if line.endswith(b"\n") else None
    except RejectedError:
        return None


def _closed_lines(path: Path, last_day: int) -> Iterator[Line]:
    """The lines of a rotated file, or none when it begins after the last day wanted."""
    try:
        with journal_files.open_closed(path) as file:
            first = file.readline()
            if last_day < journal_files.day_of(FOREVER) and (journal_files.line_day(first) or 0) > last_day:
                return
            for number, line in enumerate(chain([first] if first else [], file), 1):
                if not line.endswith(b"\n"):
                    raise CodecError(f"{path}:{number}: expected a whole line, got half of one in a rotated file")
                yield Line(path, number, line[:-1])
    except UNREADABLE as error:
        raise FatalError(f"cannot read {path}: {error}; restore it from a backup or move it aside") from error


def _open_if_there(path: Path, opened: ExitStack) -> IO[bytes] | None:
    try:
        return opened.enter_context(path.open("rb"))
    except FileNotFoundError:
        return None


def _is_still(active: IO[bytes] | None, path: Path) -> bool:
    try:
        now = path.stat()
    except FileNotFoundError:
        return active is None
    return active is not None and os.path.samestat(os.fstat(active.fileno()), now)


def _each_once(files: list[ClosedFile]) -> list[ClosedFile]:
    """One file per place: the plain one while its compressed copy is being made."""
    first: dict[tuple[int, int], ClosedFile] = {}
    for file in files:
        first.setdefault((file.day, file.part), file)
    return list(first.values())


def _places(files: list[ClosedFile]) -> list[tuple[int, int]]:
    return [(f.day, f.part) for f in files]


def _is_closed(path: Path) -> bool:
    return journal_files.parse_closed(path) is not None
