"""The gap in a stream: what a daemon that only listens is told when it was away for too long."""

from __future__ import annotations

from dataclasses import dataclass

from core.contracts.base import Contract, check_named, check_time


@dataclass(frozen=True, slots=True)
class StreamGap(Contract):
    """Entries of a producer's stream that a listener will not get, for they are kept no longer.

    Local to the daemon; never on the wire. The producer's ledger still has them.

    Attributes:
        producer: the daemon whose stream it is.
        after: the last entry before the gap, as ``tx-index``; ``0-0`` where there was none.
        until: the last entry that is missing.
        ts_seen_ns: the listener's time when it met the gap.
    """

    producer: str
    after: str
    until: str
    ts_seen_ns: int = 0

    def __post_init__(self) -> None:
        check_named(self, "producer", self.producer)
        check_named(self, "after", self.after)
        check_named(self, "until", self.until)
        check_time(self, "ts_seen_ns", self.ts_seen_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts_seen_ns
