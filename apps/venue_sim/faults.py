"""What can go wrong between venue and client, as data that a test or the command line sets.

``StreamFaults`` decides about frames and is pure; ``RestFaults`` holds the refusals to come. Cutting sockets and
going down are acts of the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from core.errors import ConfigError


@dataclass
class FaultCounters:
    """Frames that did not simply arrive."""

    dropped: int = 0
    duplicated: int = 0
    reordered: int = 0
    withheld: int = 0


class StreamFaults:
    """What happens to the frames of the market streams.

    Attributes:
        stalled: sockets stay open and pings are answered, but no data comes and subscriptions are not answered.
        stalled_streams: the same for single streams, such as ``btcusdt@trade``; subscriptions are answered.
        closed_dials: how many of the next sockets are closed as soon as they are open, before any subscription.
        drop: the fraction of frames that are lost.
        drop_trades: trade ids whose frame is lost.
        duplicate: the fraction of frames that are sent twice.
        reorder: the fraction of frames that arrive after the one that follows them.

    Raises:
        ConfigError: a fraction outside 0 to 1.
    """

    def __init__(self, *, seed: int = 0, drop: float = 0.0, duplicate: float = 0.0, reorder: float = 0.0) -> None:
        for name, value in (("drop", drop), ("duplicate", duplicate), ("reorder", reorder)):
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"--{name}: expected a fraction from 0 to 1, got {value}")
        self.stalled = False
        self.closed_dials = 0
        self.stalled_streams: set[str] = set()
        self.drop = drop
        self.drop_trades: set[int] = set()
        self.duplicate = duplicate
        self.reorder = reorder
        self.counters = FaultCounters()
        self._random = Random(seed)
        self._late: dict[str, str] = {}

    def stall(self) -> None:
        """From now on nothing comes, on any socket."""
        self.stalled = True

    def lose(self, trade_ids: Iterable[int]) -> None:
        """The frames of these trades will be lost."""
        self.drop_trades.update(trade_ids)

    def closes_dial(self) -> bool:
        """Whether a socket that was just opened is to be closed at once; used up by asking."""
        if self.closed_dials == 0:
            return False
        self.closed_dials -= 1
        return True

    def clear(self) -> None:
        """Everything arrives again, once and in order. What was lost stays lost."""
        self.stalled = False
        self.closed_dials = 0
        self.stalled_streams.clear()
        self.drop_trades.clear()
        self.drop = self.duplicate = self.reorder = 0.0

    def passed(self, stream: str, frame: str, trade_id: int | None = None) -> list[str]:
        """The frames that go out now in place of this one."""
        if self.stalled or stream in self.stalled_streams:
            self.counters.withheld += 1
            return []
        if trade_id in self.drop_trades or self._hit(self.drop):
            self.counters.dropped += 1
            return []
        out = [frame]
        if self._hit(self.duplicate):
            self.counters.duplicated += 1
            out.append(frame)
        late = self._late.pop(stream, None)
        if late is not None:
            return [*out, late]
        if self._hit(self.reorder):
            self.counters.reordered += 1
            self._late[stream] = out.pop()
        return out

    def _hit(self, fraction: float) -> bool:
        return fraction > 0.0 and self._random.random() < fraction


@dataclass(frozen=True, slots=True)
class RestRefusal:
    """One REST request that is refused. ``status`` 0: the answer never comes."""

    status: int
    code: int = -1003
    text: str = "Too many requests."
    retry_after_s: int | None = None
    path: str = ""  # only for this endpoint, such as "historicalTrades"; empty for any


@dataclass
class RestFaults:
    """What happens to REST requests: ``refusals`` are used up in order, ``delay_s`` holds every answer back.

    ``history``: how many trades ``trades`` and ``historicalTrades`` still know; None for all.
    """

    refusals: deque[RestRefusal] = field(default_factory=deque)
    delay_s: float = 0.0
    history: int | None = None

    def refuse(self, refusal: RestRefusal, times: int = 1) -> None:
        """The next ``times`` matching requests are refused."""
        self.refusals.extend([refusal] * times)

    def next_for(self, endpoint: str) -> RestRefusal | None:
        """The refusal that is due for this request, used up by asking."""
        for refusal in self.refusals:
            if refusal.path in ("", endpoint):
                self.refusals.remove(refusal)
                return refusal
        return None
