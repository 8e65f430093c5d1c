"""The cursors of a reader: its offset in each stream, which moves from one entry to the next and over no hole.

A server that was emptied, or came back from an older state, may show entries before those ahead of them are there
again. They are left alone until the producer has refilled its stream; the other streams go on meanwhile. Only a
listener passes over a hole, and only one that the producer has said will not be filled for it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from core.bus.link import Entry
from core.entries import ConsumerOffset, EntryId, entry_text
from core.retry import Backoff, BackoffPolicy, Draw, unspread

HOLE_POLICY: Final = BackoffPolicy(initial_s=0.02, cap_s=1.0, healthy_after_s=0.0)  # between two looks at a hole
_log: Final = logging.getLogger("njord.bus")


@dataclass(slots=True)
class _Cursor:
    offset: ConsumerOffset
    ledger: str  # the identity of the ledger that the entries come from; empty while that is unknown
    looks: Backoff
    due: float = 0.0  # loop time of the next reading
    beyond: Entry | None = None  # the first entry behind a hole, in the reading at hand
    waiting: bool = False  # that was logged

    def follows(self, entry: Entry) -> bool:
        """Whether an entry may be taken next.

        It may when it names the offset as what came before it. One that names nothing was put there by another hand,
        or an older release: whoever processes it sets it aside, and its producer sees the number. One of another
        ledger has a hole before it that nobody will ever fill: whoever processes it ends.
        """
        if entry.prev is None or entry.prev == self.offset:
            return True
        return bool(self.ledger and entry.ledger) and entry.ledger != self.ledger


@dataclass(frozen=True, slots=True)
class Hole:
    """The entries that are missing in a stream: those behind ``behind``, up to and with ``until``."""

    behind: EntryId
    until: EntryId
    ledger: str


class StreamCursors:
    """The cursors of one reader, by key of the stream.

    Args:
        offsets: the last entry processed of each stream.
        ledgers: the identities of the ledgers that they came from, where known.
        draw: spreads the looks at a hole.
    """

    def __init__(
        self,
        offsets: Mapping[str, ConsumerOffset],
        ledgers: Mapping[str, str] | None = None,
        draw: Draw = unspread,
    ) -> None:
        identities = ledgers or {}
        self._cursors = {
            key: _Cursor(offset, identities.get(key, ""), Backoff(HOLE_POLICY, draw)) for key, offset in offsets.items()
        }

    def due(self, now: float) -> dict[str, ConsumerOffset]:
        """The streams to read now, with the entry to read behind; those that wait for a refill are left out."""
        return {key: cursor.offset for key, cursor in self._cursors.items() if cursor.due <= now}

    def wait_s(self, now: float) -> float:
        """Seconds until another stream is due; infinite when none waits."""
        return min((cursor.due - now for cursor in self._cursors.values() if cursor.due > now), default=inf)

    def advance(self, entry: Entry) -> bool:
        """Move onto an entry that was read, if it is the next of its stream; whether it was.

        Otherwise there is a hole, and everything behind it in this reading is refused, until ``settle``.
        """
        cursor = self._cursors[entry.key]
        if cursor.beyond is not None:
            return False
        if not cursor.follows(entry):
            cursor.beyond = entry
            return False
        cursor.offset = entry.id
        cursor.ledger = cursor.ledger or entry.ledger
        if cursor.waiting:
            _log.info("%s goes on at %s", entry.key, entry_text(entry.id))
        cursor.waiting = False
        cursor.looks.reset()
        return True

    def holes(self) -> dict[str, Hole]:
        """The holes of the reading at hand, by key of the stream."""
        return {
            key: Hole(cursor.offset, cursor.beyond.prev, cursor.beyond.ledger)
            for key, cursor in self._cursors.items()
            if cursor.beyond is not None and cursor.beyond.prev is not None
        }

    def pass_over(self, key: str) -> None:
        """Move behind the hole of a stream: nobody will fill it for this reader."""
        cursor = self._cursors[key]
        if cursor.beyond is not None and cursor.beyond.prev is not None:
            cursor.offset, cursor.beyond, cursor.waiting = cursor.beyond.prev, None, False
            cursor.looks.reset()

    def settle(self, now: float) -> int:
        """End a reading: streams that showed a hole are left alone for a while; returns their number."""
        holes = 0
        for key, cursor in self._cursors.items():
            if cursor.beyond is None:
                continue
            holes += 1
            if not cursor.waiting:
                cursor.waiting = True
                _log.warning(
                    "%s lacks entries behind %s, the next one there is %s: waiting for its producer to refill it",
                    *(key, entry_text(cursor.offset), entry_text(cursor.beyond.id)),
                )
            cursor.due, cursor.beyond = now + cursor.looks.failed(), None
        return holes
