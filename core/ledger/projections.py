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
from core.ledger.lines import Place, daemon_of, read

TAIL_LINES: Final = 256  # of a journal, by which its place in the ledger is found
_log: Final = logging.getLogger("njord.host")


class Journals(Protocol):
    """The set of journals that lines are appended to."""

    def open(self, stream: str) -> NdjsonJournal:
        """The journal of a stream."""
        ...

    def append(self, stream: str, line: bytes, ts_ns: int) -> None:
        """Add a line."""
        ...

    def flush(self) -> None:
        """Write the lines."""
        ...


class ProjectionOffset(NamedTuple):
    """A place in a ledger, and the last line that each projected journal had there, as ``digest`` gives it."""

    place: Place
    journals: Mapping[str, str]


def digest(line: bytes | None) -> str:
    """The name of a journal's last line, its SHA-256; empty where there is none."""
    return "" if line is None else hashlib.sha256(line).hexdigest()


def repair(journals: Journals, path: Path, offset: ProjectionOffset | None) -> None:
    """Write what the journals lack of a ledger, reading it from the offset on where they still fit that.

    Raises:
        JournalWriteError: a journal cannot be opened or written.
        LedgerCorruptError: the chain does not hold in what is read.
        FatalError: a rotated journal cannot be read.
    """
    if offset is not None:
        if _repaired(journals, path, offset):
            return
        _log.warning("journals do not fit the snapshot beside %s: the whole ledger is compared with them", path)
    _repaired(journals, path, None)


def _repaired(journals: Journals, path: Path, offset: ProjectionOffset | None) -> bool:
    lagging = _LaggingJournals(journals, daemon_of(path), offset)
    for event in _events(path, offset):
        lagging.count(event)
    if not lagging.fit():
        return False
    lagging.complete(_events(path, offset))
    return True


def _events(path: Path, offset: ProjectionOffset | None) -> Iterator[Contract]:
    return (event for transaction in read(path, offset and offset.place) for _, event in transaction.events)


class _LaggingJournals:
    """Finds journal lines that a crash left in the ledger alone, and writes them.

    A ledger may be larger than memory: the first reading counts, and only a lag costs a second one.
    """

    def __init__(self, journals: Journals, producer: str, offset: ProjectionOffset | None) -> None:
        self._journals = journals
        self._producer = producer
        self._offset = offset
        self._tails: dict[str, list[bytes]] = {}  # the last lines of each journal, the latest first
        self._recent: dict[str, deque[bytes]] = {}  # the last lines of the ledger, the latest first
        self._counts: Counter[str] = Counter()  # lines of the ledger by stream
        self._candidates: dict[str, list[int]] = {}  # of these, how many the journal may have, by its last lines
        for stream in offset.journals if offset is not None else ():
            self._open(stream)

    def count(self, event: Contract) -> None:
        """Note an event of the ledger, in order."""
        stream = self._stream_of(event)
        if stream is None:
            return
        if stream not in self._tails:
            self._open(stream)
        self._counts[stream] += 1
        self._recent[stream].appendleft(codec.encode(event))
        if self._ends_with_latest(stream):
            self._candidates[stream].append(self._counts[stream])

    def fit(self) -> bool:
        """Whether every journal ends where the offset says or behind it, beyond doubt."""
        return self._offset is None or all(len(counts) == 1 for counts in self._candidates.values())

    def complete(self, events: Iterable[Contract]) -> None:
        """Append what is missing; ``events`` are those that were counted, once more."""
        written = {stream: self._written(stream) for stream in self._counts}
        behind = {stream for stream, count in self._counts.items() if written[stream] < count}
        if not behind:
            return
        passed: Counter[str] = Counter()
        for event in events:
            stream = self._stream_of(event)
            if stream in behind:
                passed[stream] += 1
                if passed[stream] > written[stream]:
                    self._journals.append(stream, codec.encode(event), event.ts_ns)
        self._journals.flush()

    def _stream_of(self, event: Contract) -> str | None:
        row = topics.BY_CONTRACT.get(type(event))
        return None if row is None else row.journal_name(event, self._producer)

    def _ends_with_latest(self, stream: str) -> bool:
        """Whether the journal ends with the latest event. Events may be equal, so the lines before count too."""
        tail, recent = self._tails[stream], self._recent[stream]
        if not tail or tail[0] != recent[0]:
            return False
        count = self._counts[stream]
        if count < len(tail) and (self._offset is None or digest(tail[count]) != self._offset.journals.get(stream, "")):
            return False  # the journal has more lines than the ledger until now, or since the offset
        return all(journaled == recorded for journaled, recorded in zip(tail, recent, strict=False))

    def _open(self, stream: str) -> None:
        journal = self._journals.open(stream)
        self._tails[stream] = tail = last_lines(journal.path, TAIL_LINES)
        if not tail and journal.last_line is not None:
            tail.append(journal.last_line)  # everything was rotated away
        self._recent[stream] = deque(maxlen=TAIL_LINES)
        offset = self._offset
        fits = offset is not None and offset.journals.get(stream, "") == digest(tail[0] if tail else None)
        self._candidates[stream] = [0] if fits else []

    def _written(self, stream: str) -> int:
        """The number of counted lines that the journal has."""
        candidates = self._candidates[stream]
        if len(candidates) < 2:
            return candidates[0] if candidates else 0
        # The ledger says the same more than once, so the lines are counted; some of them may have been moved away.
        count = sum(1 for _ in JournalReader(self._journals.open(stream).path.parent).lines(stream))
        return count if count in candidates else candidates[-1]
