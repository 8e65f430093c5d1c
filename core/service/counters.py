"""The counters of a host: messages that came, and messages that are missing."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from core.component import Message

_log: Final = logging.getLogger("njord.host")


@dataclass
class HostCounters:
    """The counts of one host. ``errors`` is keyed by the exception's name, ``lost`` by producer and topic;
    ``missed`` by producer, the transactions whose entries a listener came too late for;
    ``restarts`` counts by producer and topic where a sequence began anew, so that its end is unknown; ``recoveries``
    how often the running component was replaced by one recovered from its records."""

    handled: int = 0
    recoveries: int = 0
    emitted: int = 0
    duplicates: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)


class BroadcastSequences:
    """The sequences of broadcasts, whose gaps show what was lost on the way."""

    def __init__(self, counters: HostCounters) -> None:
        self._counters = counters
        self._seen: dict[tuple[str, str], int] = {}  # the last number by producer and topic

    def may_lack(self, message: Message) -> bool:
        """Whether broadcasts may be missing ahead of this one; a gap in its producer's sequence is counted."""
        key = (message.producer, message.topic)
        last = self._seen.get(key, 0)
        self._seen[key] = message.seq
        # The first one seen may be any.
        if message.seq < last:
            self._counters.restarts[f"{message.producer}:{message.topic}"] += 1
            _log.warning("%s started again; what it had not sent of %s before is unknown", *key)
            return True
        if message.seq > last + 1 and last:
            self._counters.lost[f"{message.producer}:{message.topic}"] += message.seq - last - 1
            _log.warning("broadcast lost: %s %s %d..%d", *key, last + 1, message.seq - 1)
            return True
        return False
