"""The order book, rebuilt from a snapshot and the venue's updates by their ids; never shown crossed or with a hole.

Live feed, replay and the audit's reconstruction all use this. Prices are the floats nearest to the venue's decimals,
so equal prices are equal keys.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from struct import Struct as Packer
from typing import Final, Literal
from zlib import crc32

from core.contracts import BookEvent, Contract, FeedStatus, Level
from core.market.binance import VENUE, DepthDiff, DepthSnapshot

DEPTH: Final = 20  # levels a side in a ``BookEvent``
MAX_BUFFERED: Final = 1_000  # updates kept while a snapshot is awaited, the latest ones
SNAPSHOT_PATIENCE: Final = 20  # updates without a snapshot until the book is reported unavailable
_NEAR: Final = 128  # prices a side that are kept in order; the rest is only looked up

BookState = Literal["waiting", "live", "broken"]
_counts: Final = Packer("<II")


def book_checksum(bids: Sequence[Level], asks: Sequence[Level]) -> int:
    """CRC-32 of the levels: both lengths as unsigned 32-bit, then price and quantity of each bid, then of each
    ask, as IEEE doubles, everything little-endian."""
    flat = [number for levels in (bids, asks) for level in levels for number in level]
    return crc32(Packer(f"<{len(flat)}d").pack(*flat), crc32(_counts.pack(len(bids), len(asks))))


class _BookSide:
    """One side: every level by price, the nearest prices in order. ``sign`` is -1 for bids, so that the best
    price always has the smallest key."""

    __slots__ = ("_complete", "_near", "_sign", "levels")

    def __init__(self, sign: int, levels: Sequence[Level] = ()) -> None:
        self._sign = sign
        self.levels = {price: qty for price, qty in levels if qty}
        self._near: list[float] = []
        self._complete = True  # nothing lies beyond the last near price
        self._look_around()

    def change(self, levels: Sequence[Level]) -> None:
        """Set the quantities at these prices; 0 takes a level away."""
        resting, near, sign = self.levels, self._near, self._sign
        for price, qty in levels:
            if not qty:
                if resting.pop(price, None) is not None and near and sign * price <= near[-1]:
                    near.pop(bisect_left(near, sign * price))
            elif price in resting:
                resting[price] = qty
            else:
                resting[price] = qty
                if self._complete or (near and sign * price < near[-1]):
                    insort(near, sign * price)
        if len(near) > 2 * _NEAR:
            del near[_NEAR:]
            self._complete = False

    def best(self) -> float | None:
        """The best price, or None on an empty side."""
        if not self._near and self.levels:
            self._look_around()
        return self._sign * self._near[0] if self._near else None

    def top(self, count: int) -> tuple[Level, ...]:
        """The best ``count`` levels, best first."""
        if len(self._near) < count and not self._complete:
            self._look_around(count)
        sign, levels = self._sign, self.levels
        return tuple([(sign * key, levels[sign * key]) for key in self._near[:count]])

    def _look_around(self, count: int = 0) -> None:
        room = max(_NEAR, count)
        sign = self._sign
        self._near = nsmallest(room, [sign * price for price in self.levels])
        self._complete = len(self._near) == len(self.levels)


class OrderBook:
    """A book at the venue's update id ``last_id``. Changes are absolute quantities by price."""

    __slots__ = ("_asks", "_bids", "last_id")

    def __init__(self, bids: Sequence[Level] = (), asks: Sequence[Level] = (), last_id: int = 0) -> None:
        self._bids = _BookSide(-1, bids)
        self._asks = _BookSide(1, asks)
        self.last_id = last_id

    def apply(self, bids: Sequence[Level], asks: Sequence[Level], last_id: int) -> None:
        """Set the quantities at these prices; the book then stands at ``last_id``."""
        self._bids.change(bids)
        self._asks.change(asks)
        self.last_id = last_id

    @property
    def best_bid(self) -> float | None:
        """The highest price that somebody buys at."""
        return self._bids.best()

    @property
    def best_ask(self) -> float | None:
        """The lowest price that somebody sells at."""
        return self._asks.best()

    @property
    def crossed(self) -> bool:
        """Best bid at or above best ask: what no venue has, so the book is wrong."""
        bid, ask = self._bids.best(), self._asks.best()
        return bid is not None and ask is not None and bid >= ask

    def qty_at(self, side: Literal["bids", "asks"], price: float) -> float:
        """The quantity at a price, 0 where there is none."""
        return (self._bids if side == "bids" else self._asks).levels.get(price, 0.0)

    def top(self, count: int = DEPTH) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        """The best ``count`` bids and asks, best first, as ``(price, qty)``."""
        return self._bids.top(count), self._asks.top(count)

    def __len__(self) -> int:
        return len(self._bids.levels) + len(self._asks.levels)


@dataclass(slots=True)
class BookCounters:
    """What became of the updates of one symbol."""

    applied: int = 0
    outdated: int = 0
    breaks: int = 0
    snapshots: int = 0
    useless_snapshots: int = 0
    buffer_overflows: int = 0


class BookBuilder:
    """Follows one symbol's updates and yields its top of book after each.

    By Binance's rules: updates that come before the snapshot are kept; those up to its id are dropped; the
    first applied covers the id after it (``first_id <= last_id + 1 <= u``), each later one follows the one before.
    An update that overlaps what is known is applied, for quantities are absolute; a jump is a break:
    the book is reported stale, updates are kept, and the next snapshot that fits brings it back.
    """

    def __init__(self, symbol: str, *, venue: str = VENUE, depth: int = DEPTH) -> None:
        self.symbol = symbol
        self.counters = BookCounters()
        self.state: BookState = "waiting"
        self.book = OrderBook()
        self._venue = venue
        self._depth = depth
        self._buffer: deque[DepthDiff] = deque(maxlen=MAX_BUFFERED)
        self._waited = 0
        self._reported = False

    @property
    def needs_snapshot(self) -> bool:
        """True until a snapshot has been joined with the updates, and again after a break."""
        return self.state != "live"

    def on_diff(self, diff: DepthDiff) -> Sequence[Contract]:
        """Take an update in; answers the new top of book, a status when the book became unavailable, or nothing."""
        if self.state == "live":
            if diff.last_id <= self.book.last_id:
                self.counters.outdated += 1
                return ()
            fault = self._advance(diff)
            return (self._break(fault, [diff]),) if fault else (self._event(diff.ts, diff.ts_recv_ns),)
        self._keep(diff)
        self._waited += 1
        if self.state == "waiting" and not self._reported and self._waited >= SNAPSHOT_PATIENCE:
            return (self._unavailable(diff.ts),)
        return ()

    def on_snapshot(self, snapshot: DepthSnapshot, ts_ns: int) -> Sequence[Contract]:
        """Take a whole book in, at venue time ``ts_ns``; answers the top of book once the kept updates join it."""
        if self.state == "live" and snapshot.last_id <= self.book.last_id:
            self.counters.useless_snapshots += 1
            return ()
        kept = [diff for diff in self._buffer if diff.last_id > snapshot.last_id]
        if kept and kept[0].first_id > snapshot.last_id + 1:
            self.counters.useless_snapshots += 1  # older than what was kept: a later one is needed
            return ()
        self.counters.snapshots += 1
        self.counters.outdated += len(self._buffer) - len(kept)
        self._buffer.clear()
        self.book = OrderBook(snapshot.bids, snapshot.asks, snapshot.last_id)
        ts, ts_recv = ts_ns, snapshot.ts_recv_ns
        fault = "the snapshot is crossed" if self.book.crossed else ""
        for index, diff in enumerate(kept):
            fault = self._advance(diff)
            if fault:
                return (self._break(fault, kept[index:]),)
            ts = diff.ts
        if fault:
            return (self._break(fault, []),)
        return self._back(ts, ts_recv)

    def on_end(self, ts_ns: int) -> Sequence[Contract]:
        """The feed has ended: says so once if there never was a book although there were updates."""
        if self.state == "waiting" and self._buffer and not self._reported:
            return (self._unavailable(ts_ns),)
        return ()

    def _advance(self, diff: DepthDiff) -> str:
        """Apply an update that is new; answers what is wrong with the book now, or nothing."""
        book = self.book
        if diff.first_id > book.last_id + 1:
            return f"update ids jump from {book.last_id} to {diff.first_id}"
        book.apply(diff.bids, diff.asks, diff.last_id)
        self.counters.applied += 1
        if book.crossed:
            return f"crossed at update {diff.last_id}: bid {book.best_bid}, ask {book.best_ask}"
        return ""

    def _back(self, ts_ns: int, ts_recv_ns: int) -> Sequence[Contract]:
        """The book is whole: its top, and a status when it had been reported missing."""
        self.state = "live"
        event = self._event(ts_ns, ts_recv_ns)
        if not self._reported:
            return (event,)
        self._reported = False
        return (FeedStatus(self.symbol, self._venue, "live", ts_ns, "order book resynchronised", "book"), event)

    def _break(self, fault: str, kept: Sequence[DepthDiff]) -> FeedStatus:
        self.state = "broken"
        self.counters.breaks += 1
        self._reported = True
        for diff in kept:
            self._keep(diff)
        ts_ns = kept[0].ts if kept else 0
        detail = f"order book: {fault}; waiting for a new snapshot"
        return FeedStatus(self.symbol, self._venue, "stale", ts_ns, detail, "book")

    def _unavailable(self, ts_ns: int) -> FeedStatus:
        self._reported = True
        detail = (
            f"order book unavailable: {self._waited} updates came and no snapshot that fits them; "
            "trades are not affected"
        )
        return FeedStatus(self.symbol, self._venue, "stale", ts_ns, detail, "book")

    def _keep(self, diff: DepthDiff) -> None:
        if len(self._buffer) == MAX_BUFFERED:
            self.counters.buffer_overflows += 1
        self._buffer.append(diff)

    def _event(self, ts_ns: int, ts_recv_ns: int) -> BookEvent:
        bids, asks = self.book.top(self._depth)
        return BookEvent(
            self.symbol, bids, asks, book_checksum(bids, asks), ts_ns, self.book.last_id, self._venue, ts_recv_ns
        )
