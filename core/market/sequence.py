"""Trades in the venue's order, each exactly once, and what is missing between them.

A venue numbers its trades without holes, so a hole in the ids is a loss. Later trades wait, bounded,
while the feed fetches what is missing; what cannot be fetched leaves as a ``FeedGap``.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.clock import NS_PER_S
from core.contracts import Contract, FeedGap, FeedStatus, TradeEvent
from core.errors import ContractError

DEDUPE_WINDOW: Final = 512  # trade ids that are remembered per symbol
MAX_HELD: Final = 10_000  # trades that wait for a hole to be filled, per symbol
MAX_HELD_OFFLINE: Final = 64  # the same where nobody can be asked: enough for trades out of order
MAX_WAIT_NS: Final = 15 * NS_PER_S  # market time that a hole may stay open
MAX_HOLE: Final = 1_000_000  # ids; a wider hole is not asked for, an id that far back begins a new numbering
_MAX_ID_DIGITS: Final = 18  # a longer id is a name, not a count


@dataclass(frozen=True, slots=True)
class BackfillRequest(Contract):
    """Ask of the feed: fetch trades ``first_id`` to ``last_id`` (both included). Local to the ingest daemon.

    The feed answers with the trades it could get, through the ordinary way in, then with ``BackfillDone``.
    """

    symbol: str
    venue: str
    first_id: int
    last_id: int
    ts: int

    def __post_init__(self) -> None:
        _check_range(self, self.first_id, self.last_id)

    @property
    def ts_ns(self) -> int:
        return self.ts


@dataclass(frozen=True, slots=True)
class BackfillDone(Contract):
    """The feed's word that no more of ``first_id`` to ``last_id`` will come. Local to the ingest daemon.

    ``reason`` says why ids may still be missing and becomes the reason of their ``FeedGap``.
    """

    symbol: str
    first_id: int
    last_id: int
    reason: str = "the venue does not have them"
    ts: int = 0

    def __post_init__(self) -> None:
        _check_range(self, self.first_id, self.last_id)

    @property
    def ts_ns(self) -> int:
        return self.ts


def _check_range(contract: Contract, first: int, last: int) -> None:
    if last < first:
        raise ContractError(f"{type(contract).__name__}.last_id: expected an id of at least {first}, got {last}")


class Deduplicator:
    """Remembers the latest ``window`` trade ids. Raises ContractError on a window below one."""

    __slots__ = ("_order", "_seen", "_window")

    def __init__(self, window: int = DEDUPE_WINDOW) -> None:
        if window < 1:
            raise ContractError(f"Deduplicator.window: expected at least 1, got {window}")
        self._window = window
        self._order: deque[str] = deque()
        self._seen: set[str] = set()

    def is_new(self, trade_id: str) -> bool:
        """True the first time an id is met within the window; remembers it."""
        if trade_id in self._seen:
            return False
        if len(self._order) == self._window:
            self._seen.discard(self._order.popleft())
        self._order.append(trade_id)
        self._seen.add(trade_id)
        return True

    def __contains__(self, trade_id: str) -> bool:
        return trade_id in self._seen

    def __len__(self) -> int:
        return len(self._order)


@dataclass(slots=True)
class SequenceCounters:
    """The fates of the trades of one symbol.

    ``late``: given up or forgotten before it came; ``before_first``: with an id below the first one seen;
    ``restarts``: how often the venue began to count anew.
    """

    accepted: int = 0
    duplicates: int = 0
    late: int = 0
    before_first: int = 0
    gaps: int = 0
    missing: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class _GivenUp:
    first_id: int
    last_id: int
    reason: str


@dataclass(frozen=True, slots=True)
class JournaledTail:
    """The newest trades of a symbol that an earlier run journaled: all since ``since_ns``, by their ids.

    A trade is in it when it is older, or has one of the ids; one without an id when it is not newer than ``until_ns``.
    """

    since_ns: int
    until_ns: int
    ids: frozenset[str]

    def __contains__(self, trade: TradeEvent) -> bool:
        if trade.ts < self.since_ns:
            return True
        return trade.trade_id in self.ids if trade.trade_id else trade.ts <= self.until_ns


def numeric_id(trade_id: str) -> int | None:
    """The id as a count, or None when it is a name."""
    if trade_id.isdecimal() and trade_id.isascii() and len(trade_id) <= _MAX_ID_DIGITS:
        return int(trade_id)
    return None


class TradeSequencer:
    """One symbol's trades in id order.

    Where ids count (``contiguous``), each id leaves exactly once and in order, as a trade or inside a
    ``FeedGap``; otherwise trades leave as they come and only the rolling window of ids removes
    duplicates. ``last_id`` is the last id that an earlier run let through: what was missed since is a hole. ``tail``
    are the newest trades that it let through, which tell repeats where ids do not count.

    A jump forward of more than ``MAX_HOLE`` ids is a gap at once, for nobody fetches that much; a jump back of as
    much is a venue that counts anew, which a ``FeedStatus`` tells.
    """

    __slots__ = (
        "_contiguous", "_dedupe", "_first", "_given_up", "_held", "_held_ids", "_known_to", "_max_held", "_max_wait_ns",
        "_next", "_tail", "_waiting_since", "counters", "symbol",
    )  # fmt: skip

    def __init__(
        self,
        symbol: str,
        *,
        contiguous: bool = True,
        last_id: int | None = None,
        tail: JournaledTail | None = None,
        max_held: int = MAX_HELD,
        max_wait_ns: int = MAX_WAIT_NS,
        window: int = DEDUPE_WINDOW,
    ) -> None:
        self.symbol = symbol
        self.counters = SequenceCounters()
        self._contiguous = contiguous
        self._dedupe = Deduplicator(window)
        self._tail = tail
        self._first = 0 if last_id is not None else -1  # the lowest id that may have left; -1 before the first trade
        self._next = -1 if last_id is None else last_id + 1
        self._known_to = self._next - 1  # every id up to here was let through, is held, or was asked for
        self._held: dict[int, TradeEvent] = {}
        self._held_ids: list[int] = []
        self._given_up: list[_GivenUp] = []
        self._max_held = max_held
        self._max_wait_ns = max_wait_ns
        self._waiting_since = 0

    @property
    def waiting(self) -> int:
        """How many trades wait for a hole before them."""
        return len(self._held_ids)

    @property
    def next_id(self) -> int | None:
        """The id that is expected next; None before the first numbered trade."""
        return None if self._next < 0 else self._next

    def offer(self, trade: TradeEvent) -> Sequence[Contract]:
        """Take a trade in; answers what may leave now: trades and gaps in order, and new backfill requests."""
        trade_id = trade.trade_id
        number = numeric_id(trade_id) if self._contiguous else None
        if number is None:
            return self._unnumbered(trade)
        if number == self._next or self._next < 0:
            self._dedupe.is_new(trade_id)
            self.counters.accepted += 1
            if self._next < 0:
                self._first = number
            self._next = number + 1
            if self._held_ids:
                self._note_progress()
                return [trade, *self._release()]
            self._known_to = number
            return (trade,)
        if number > self._known_to + MAX_HOLE or number < self._next - MAX_HOLE:
            return self._leap(number, trade)
        if number < self._next:
            if trade_id in self._dedupe:
                self.counters.duplicates += 1
            elif number < self._first:
                self.counters.before_first += 1
            else:
                self.counters.late += 1
            return ()
        return self._hold(number, trade)

    def backfill_done(self, done: BackfillDone) -> Sequence[Contract]:
        """Give up what is still missing of the range and let go what waited for it."""
        first, last = max(done.first_id, self._next), min(done.last_id, self._known_to)
        if self._next < 0 or last < first or not self._held_ids:
            return ()
        insort(self._given_up, _GivenUp(first, last, done.reason), key=lambda g: g.first_id)
        return self._release()

    def expire(self, now_ns: int) -> Sequence[Contract]:
        """Give up the first hole once it has been open for longer than ``max_wait_ns`` of market time."""
        if not self._held_ids or now_ns - self._waiting_since <= self._max_wait_ns:
            return ()
        return self._give_up_first(f"not fetched within {self._max_wait_ns / NS_PER_S:g} s", now_ns)

    def flush(self, reason: str) -> Sequence[Contract]:
        """Give up every hole and let everything go: the feed has ended."""
        if not self._held_ids:
            return ()
        self._given_up = [_GivenUp(self._next, self._held_ids[-1], reason)]
        return self._release()

    def _unnumbered(self, trade: TradeEvent) -> Sequence[Contract]:
        if (self._tail is not None and trade in self._tail) or (
            trade.trade_id and not self._dedupe.is_new(trade.trade_id)
        ):
            self.counters.duplicates += 1
            return ()
        self.counters.accepted += 1
        return (trade,)

    def _hold(self, number: int, trade: TradeEvent) -> Sequence[Contract]:
        if number in self._held:
            self.counters.duplicates += 1
            return ()
        if not self._held_ids:
            self._waiting_since = trade.ts
        self._held[number] = trade
        insort(self._held_ids, number)
        out: list[Contract] = []
        if number > self._known_to + 1:
            out.append(BackfillRequest(self.symbol, trade.venue, self._known_to + 1, number - 1, trade.ts))
        self._known_to = max(self._known_to, number)
        out.extend(self._release())
        if len(self._held_ids) > self._max_held:
            out.extend(self._give_up_first(f"not fetched within {self._max_held} later trades", trade.ts))
        return out

    def _leap(self, number: int, trade: TradeEvent) -> Sequence[Contract]:
        """Go on at an id that is too far away to be reached: what waited leaves first."""
        out: list[Contract] = list(self.flush(f"the ids jump to {number}"))
        expected, self._next = self._next, number + 1
        self._known_to = number
        self._first = min(self._first, number)
        if number > expected:
            out.append(self._gap(expected, number - 1, trade, f"more than {MAX_HOLE} trades: not asked for"))
        else:
            self.counters.restarts += 1
            detail = f"trades: the venue counts anew from {number}, it had reached {expected - 1}"
            out.append(FeedStatus(self.symbol, trade.venue, "live", trade.ts, detail))
        self._dedupe.is_new(trade.trade_id)
        self.counters.accepted += 1
        out.append(trade)
        return out

    def _give_up_first(self, reason: str, now_ns: int) -> Sequence[Contract]:
        self._given_up.insert(0, _GivenUp(self._next, self._held_ids[0] - 1, reason))
        self._waiting_since = max(self._waiting_since, now_ns)
        return self._release()

    def _release(self) -> list[Contract]:
        """What may leave: held trades that come next, and gaps for ids that were given up."""
        out: list[Contract] = []
        released = 0
        for number in self._held_ids:
            while number != self._next:
                gap = self._gap_before(number)
                if gap is None:
                    break
                self._next = gap.last_id + 1
                out.append(gap)
            if number != self._next:
                break
            trade = self._held.pop(number)
            self._dedupe.is_new(trade.trade_id)
            self._next = number + 1
            out.append(trade)
            released += 1
        self.counters.accepted += released
        del self._held_ids[:released]
        if out:
            self._given_up = [g for g in self._given_up if g.last_id >= self._next]
            self._note_progress()
        return out

    def _note_progress(self) -> None:
        """A hole that is being filled is not one that is stuck: its patience starts anew."""
        if self._held_ids:
            self._waiting_since = max(self._waiting_since, self._held[self._held_ids[-1]].ts)

    def _gap_before(self, held_id: int) -> FeedGap | None:
        """The gap that starts at the next id, as far as it was given up and not beyond what is held."""
        for range_ in self._given_up:
            if range_.first_id <= self._next <= range_.last_id:
                last = min(range_.last_id, held_id - 1)
                return self._gap(self._next, last, self._held[held_id], range_.reason)
        return None

    def _gap(self, first: int, last: int, next_trade: TradeEvent, reason: str) -> FeedGap:
        self.counters.gaps += 1
        self.counters.missing += last - first + 1
        return FeedGap(self.symbol, next_trade.venue, first, last, next_trade.ts, reason)
