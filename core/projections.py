"""The journals that are projected from a ledger: found where a crash left them behind it, and brought up to it."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from core import codec, topics
from core.contracts import Contract
from core.journal import NdjsonJournal
from core.ledger_lines import Place, read

_log: Final = logging.getLogger("njord.host")


class Journals(Protocol):
    """Where journals are written."""

    def open(self, stream: str) -> NdjsonJournal:
        """The journal of a stream."""
        ...

    def append(self, stream: str, line: bytes, ts_ns: int) -> None:
        """Add a line."""
        ...

    def flush(self) -> None:
        """Write the lines."""
        ...


class Mark(NamedTuple):
    """A place in a ledger, and the last line that each projected journal had there, as ``digest`` gives it."""

    place: Place
    journals: Mapping[str, str]


def digest(line: bytes | None) -> str:
    """What names a journal's last line; empty where there is none."""
    return "" if line is None else hashlib.sha256(line).hexdigest()


def mend(journals: Journals, path: Path, mark: Mark | None) -> None:
    """Write what the journals lack of a ledger, reading it from the mark on where they still fit that.

    Raises:
        JournalWriteError: a journal cannot be opened or written.
        LedgerCorruptError: the chain does not hold in what is read.
        FatalError: a rotated journal cannot be read.
    """
    if mark is not None:
        if _mended(journals, path, mark):
            return
        _log.warning("journals do not fit the snapshot beside %s: the whole ledger is compared with them", path)
    _mended(journals, path, None)


def _mended(journals: Journals, path: Path, mark: Mark | None) -> bool:
    lagging = _LaggingJournals(journals, mark)
    for event in _events(path, mark):
        lagging.see(event)
    if not lagging.fit():
        return False
    lagging.mend(_events(path, mark))
    return True


def _events(path: Path, mark: Mark | None) -> Iterator[Contract]:
    return (event for transaction in read(path, mark and mark.place) for _, event in transaction.events)


class _LaggingJournals:
    """Finds journal lines that a crash left in the ledger alone, and writes them.

    A ledger may be larger than memory: the first reading counts, and only a lag costs a second one.
    """

    def __init__(self, journals: Journals, mark: Mark | None) -> None:
        self._journals = journals
        self._mark = mark
        self._last: dict[str, bytes | None] = {}
        self._seen: Counter[str] = Counter()  # lines by stream
        self._written: dict[str, int] = {}  # of these, how many the journal has
        self._placed: set[str] = set()  # streams whose last line is that of the mark, or was seen since
        for stream in mark.journals if mark is not None else ():
            self._open(stream)

    def see(self, event: Contract) -> None:
        """Note an event of the ledger, in order."""
        stream = _journal_of(event)
        if stream is None:
            return
        if stream not in self._last:
            self._open(stream)
        self._seen[stream] += 1
        if codec.encode(event) == self._last[stream]:
            self._written[stream] = self._seen[stream]
            self._placed.add(stream)

    def fit(self) -> bool:
        """Whether every journal ends where the mark says or behind it."""
        return self._mark is None or self._placed >= self._last.keys()

    def mend(self, events: Iterable[Contract]) -> None:
        """Append what is missing; ``events`` are those seen, once more."""
        behind = {stream for stream, count in self._seen.items() if self._written[stream] < count}
        if not behind:
            return
        again: Counter[str] = Counter()
        for event in events:
            stream = _journal_of(event)
            if stream in behind:
                again[stream] += 1
                if again[stream] > self._written[stream]:
                    self._journals.append(stream, codec.encode(event), event.ts_ns)
        self._journals.flush()

    def _open(self, stream: str) -> None:
        self._last[stream] = last = self._journals.open(stream).last_line
        self._written[stream] = 0
        if self._mark is not None and self._mark.journals.get(stream, "") == digest(last):
            self._placed.add(stream)


def _journal_of(event: Contract) -> str | None:
    row = topics.BY_CONTRACT.get(type(event))
    return None if row is None else row.journal_name(event)
