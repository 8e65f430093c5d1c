"""The journals behind one host, on a disk that may refuse: kept and told while they cannot be written, and afterwards.

Without a ledger they are the record, and nothing goes on without them. Journals that are projected from a ledger may
lag behind it: what they lack is written from there later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from core.contracts import Severity
from core.errors import JournalWriteError
from core.journal.set import JournalSet

Alarm = Callable[[Severity, str, str], None]
_log: Final = logging.getLogger("njord.host")


class JournalWriter:
    """Writes one daemon's journals.

    Args:
        name: the daemon.
        journals: its journals.
        projected: whether they are projected from a ledger.
        alarm: tells a human, with title and text.

    Attributes:
        trouble: what could not be written.
    """

    def __init__(self, name: str, journals: JournalSet, *, projected: bool, alarm: Alarm) -> None:
        self.trouble: JournalWriteError | None = None
        self._name = name
        self._journals = journals
        self._projected = projected
        self._alarm = alarm
        self._alarmed = False
        self._held: list[tuple[str, bytes, int]] = []  # lines that a full journal did not take

    def append(self, stream: str, line: bytes, ts_ns: int) -> None:
        """Add a line. While something cannot be written, a projected one is left to ``repair``, others are held."""
        if self._projected and self.trouble is not None:
            return
        if self._held:
            self._held.append((stream, line, ts_ns))
            return
        try:
            self._journals.append(stream, line, ts_ns)
        except JournalWriteError as error:
            self.refused(error)
            if not self._projected:
                self._held.append((stream, line, ts_ns))

    def flush(self) -> None:
        """Hand what is projected to the operating system. Raises nothing: what cannot be written is ``trouble``."""
        self._unless_refused(self._journals.flush)

    def sync(self) -> None:
        """Wait until the disk has what is projected. Raises nothing, as ``flush``."""
        self._unless_refused(self._journals.sync)

    def write(self) -> None:
        """Hand the record to the operating system, and what was held of it first. Raises JournalWriteError."""
        try:
            while self._held:
                self._journals.append(*self._held[0])
                del self._held[0]
            self._journals.flush()
        except JournalWriteError as error:
            self.refused(error)
            raise
        self.trouble = None
        self._all_well()

    def repair(self, write: Callable[[], None]) -> None:
        """Open everything anew and let ``write`` bring the projections up to date. What it cannot is ``trouble``."""
        self.trouble = None
        self._journals.abandon()
        self._unless_refused(write)
        if self.trouble is None:
            self._all_well()

    def complete(self, write: Callable[[], None]) -> None:
        """Let ``write`` add what the projections lack, at a start. What it cannot is ``trouble``."""
        try:
            write()
        except JournalWriteError as error:
            self.refused(error)

    def refused(self, error: JournalWriteError) -> None:
        """Something could not be written: told once, until everything can be again."""
        self.trouble = error
        if not self._alarmed:
            self._alarmed = True
            going = "goes on without these journals" if self._projected else "waits"
            _log.error("%s %s: %s", self._name, going, error)
            self._alarm("critical", "journals cannot be written", str(error))

    def _unless_refused(self, effect: Callable[[], None]) -> None:
        if self.trouble is None:
            self.complete(effect)

    def _all_well(self) -> None:
        if self._alarmed:
            self._alarmed = False
            _log.warning("%s writes its journals again; nothing is missing in them", self._name)
            self._alarm("info", "journals are written again", "nothing is missing in them")
