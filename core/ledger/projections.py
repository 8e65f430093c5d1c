"""The journals that are projected from a ledger: found where a crash left them behind it, and brought up to it."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from core import codec, topics
from core.contracts import Contract
from core.journal import JournalReader, NdjsonJournal
from core.journal.files import last_lines
from core.ledger.lines import Place, read

TAIL_LINES: Final = 256  # of a journal, by which its place in the ledger is found
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
        self._tails: dict[str, list[bytes]] = {}  # the last lines of each journal, the latest first
        self._recent: dict[str, deque[bytes]] = {}  # the last lines of the ledger, the latest first
        self._seen: Counter[str] = Counter()  # lines by stream
        self._places: dict[str, list[int]] = {}  # of these, how many the journal may have, by its last lines
        for stream in mark.journals if mark is not None else ():
            self._open(stream)

    def see(self, event: Contract) -> None:
        """Note an event of the ledger, in order."""
        stream = _journal_of(event)
        if stream is None:
            return
        if stream not in self._tails:
            self._open(stream)
        self._seen[stream] += 1
        self._recent[stream].appendleft(codec.encode(event))
        if self._ends_here(stream):
            self._places[stream].append(self._seen[stream])

    def fit(self) -> bool:
        """Whether every journal ends where the mark says or behind it, beyond doubt."""
        return self._mark is None or all(len(places) == 1 for places in self._places.values())

    def mend(self, events: Iterable[Contract]) -> None:
        """Append what is missing; ``events`` are those seen, once more."""
        written = {stream: self._written(stream) for stream in self._seen}
        behind = {stream for stream, count in self._seen.items() if written[stream] < count}
        if not behind:
            return
        again: Counter[str] = Counter()
        for event in events:
            stream = _journal_of(event)
            if stream in behind:
                again[stream] += 1
                if again[stream] > written[stream]:
                    self._journals.append(stream, codec.encode(event), event.ts_ns)
        self._journals.flush()

    def _ends_here(self, stream: str) -> bool:
        """Whether the journal ends with the event just seen. Events may be equal, so the lines before count too."""
        tail, recent = self._tails[stream], self._recent[stream]
        if not tail or tail[0] != recent[0]:
            return False
        seen = self._seen[stream]
        if seen < len(tail) and (self._mark is None or digest(tail[seen]) != self._mark.journals.get(stream, "")):
            return False  # the journal has more lines than the ledger until here, or since the mark
        return all(mine == told for mine, told in zip(tail, recent, strict=False))

    def _open(self, stream: str) -> None:
        journal = self._journals.open(stream)
        self._tails[stream] = tail = last_lines(journal.path, TAIL_LINES)
        if not tail and journal.last_line is not None:
            tail.append(journal.last_line)  # everything was rotated away
        self._recent[stream] = deque(maxlen=TAIL_LINES)
        fits = self._mark is not None and self._mark.journals.get(stream, "") == digest(tail[0] if tail else None)
        self._places[stream] = [0] if fits else []

    def _written(self, stream: str) -> int:
        """How many of the lines seen the journal has."""
        places = self._places[stream]
        if len(places) < 2:
            return places[0] if places else 0
        # The ledger says the same more than once, so the lines are counted; some of them may have been moved away.
        count = sum(1 for _ in JournalReader(self._journals.open(stream).path.parent).lines(stream))
        return count if count in places else places[-1]


def _journal_of(event: Contract) -> str | None:
    row = topics.BY_CONTRACT.get(type(event))
    return None if row is None else row.journal_name(event)
