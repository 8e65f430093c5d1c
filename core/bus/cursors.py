"""Where a consumer stands in each producer's stream: it moves from one entry to the next and over no hole.

A server that was emptied, or came back from an older state, may show entries before what comes ahead of them is
there again. They are left alone until the producer has refilled its stream; the other streams go on meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Final

from core.bus.link import Entry
from core.entries import EntryId, entry_text

HOLE_FIRST_S: Final = 0.02
HOLE_MAX_S: Final = 1.0
_log: Final = logging.getLogger("njord.bus")


@dataclass(slots=True)
class _Cursor:
    at: EntryId
    ledger: str  # whose entries these are; empty while that is unknown
    pause: float = HOLE_FIRST_S
    due: float = 0.0
    behind: EntryId | None = None  # the entry that was found behind a hole
    told: bool = False


class StreamCursors:
    """The cursors of one reader, by key of the stream.

    Args:
        positions: the last entry processed of each stream.
        ledgers: the identities of the ledgers that they came from, where known.
    """

    def __init__(self, positions: Mapping[str, EntryId], ledgers: Mapping[str, str] | None = None) -> None:
        known = ledgers or {}
        self._cursors = {key: _Cursor(entry, known.get(key, "")) for key, entry in positions.items()}

    def due(self, now: float) -> dict[str, EntryId]:
        """What to read now, as keys with the entry to read behind; streams that wait for a refill are left out."""
        return {key: cursor.at for key, cursor in self._cursors.items() if cursor.due <= now}

    def wait_s(self, now: float) -> float:
        """Seconds until another stream is due; infinite when none waits."""
        return min((cursor.due - now for cursor in self._cursors.values() if cursor.due > now), default=inf)

    def advance(self, found: Entry) -> bool:
        """Whether this is the next entry of its stream; if so, the cursor stands on it.

        An entry that does not say what comes before it was put there by another hand, or an older release. It is taken:
        whoever processes it sets it aside, and its producer is told of it by the number. So is one of another ledger,
        which nobody will ever fill the hole before: whoever processes it ends.
        """
        cursor = self._cursors[found.key]
        foreign = bool(cursor.ledger and found.ledger) and found.ledger != cursor.ledger
        if cursor.behind is not None or (found.prev not in (cursor.at, None) and not foreign):
            cursor.behind = cursor.behind or found.entry
            return False
        cursor.at = found.entry
        cursor.ledger = cursor.ledger or found.ledger
        if cursor.told:
            _log.info("%s goes on at %s", found.key, entry_text(found.entry))
        cursor.pause, cursor.told = HOLE_FIRST_S, False
        return True

    def settle(self, now: float) -> int:
        """End a reading: streams that showed a hole wait a little; returns how many did."""
        holes = 0
        for key, cursor in self._cursors.items():
            if cursor.behind is None:
                continue
            holes += 1
            if not cursor.told:
                cursor.told = True
                _log.warning(
                    "%s lacks entries behind %s, the next one there is %s: waiting for its producer to refill it",
                    *(key, entry_text(cursor.at), entry_text(cursor.behind)),
                )
            cursor.due, cursor.behind = now + cursor.pause, None
            cursor.pause = min(cursor.pause * 2, HOLE_MAX_S)
        return holes
