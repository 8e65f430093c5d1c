"""The state of the live feed: a symbol and its streams, limits, counters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

from core.contracts import FeedState
from core.market.sequence import BackfillRequest
from core.retry import Backoff

ChannelKind = Literal["trade", "orderbook"]
CHANNELS: Final[tuple[ChannelKind, ...]] = ("trade", "orderbook")


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """``queue``: events that wait for the reader before trade tasks wait too. ``pending_backfills``: requests a
    symbol may have waiting. ``checksum_errors``: book errors in a row before they count as a lost connection.
    ``quiet_check_s``: how long a symbol may go without a trade before REST is asked whether that is true.
    """

    queue: int = 20_000
    pending_backfills: int = 256
    checksum_errors: int = 3
    quiet_check_s: float = 30.0


@dataclass(slots=True)
class FeedCounters:
    """The events of the feed since the start. ``recovered`` trades came over REST without being asked for."""

    reconnects: int = 0
    failures: int = 0
    stale: int = 0
    checksum_errors: int = 0
    unreadable_books: int = 0
    unreadable_bbos: int = 0
    bbo_failures: int = 0
    catch_ups: int = 0
    catch_up_failures: int = 0
    recovered: int = 0
    backfills: int = 0
    backfilled: int = 0


@dataclass(slots=True)
class Channel:
    """One stream of one symbol. ``sockets`` counts those it was heard on, ``messages`` what came on the latest."""

    kind: ChannelKind
    symbol: str
    backoff: Backoff
    sockets: int = 0
    messages: int = 0
    up: bool = False
    up_since: float = 0.0

    def is_named_by(self, subscription: object) -> bool:
        """Whether ccxt's name of a subscription, such as ``trade::BTC/USDT``, means this stream."""
        kind, *rest = str(subscription).split(":")
        return kind.startswith(self.kind) and self.symbol in rest


@dataclass(slots=True)
class Lane:
    """One symbol. ``heard_at``, ``traded_at`` and ``checked_at`` are times of the event loop, in seconds.

    ``silent``: it was stale and no data has come since. ``behind``: quiet checks in a row that found trades which
    the stream had not brought. ``unbooked_since``: when the first trade came after the last book. ``blocked``:
    tasks whose trades wait for the reader.
    """

    symbol: str
    trades: Channel
    book: Channel
    bbo_backoff: Backoff
    last_id: int | None
    state: FeedState = "connecting"
    detail: str = ""
    silent: bool = False
    blocked: int = 0
    heard_at: float = 0.0
    traded_at: float = 0.0
    checked_at: float = 0.0
    unbooked_since: float | None = None
    behind: int = 0
    catching_up: bool = False
    catch_up_again: bool = False
    requests: deque[BackfillRequest] = field(default_factory=deque)
    backfilling: bool = False

    @property
    def channels(self) -> tuple[Channel, Channel]:
        """Both streams."""
        return (self.trades, self.book)

    @property
    def would_overtake(self) -> bool:
        """Whether an order book of now would overtake trades that are still being fetched."""
        return bool(self.trades.sockets) and not (self.trades.up and not self.catching_up)

    @property
    def complete(self) -> bool:
        """Both streams are on and nothing that was missed is still on its way."""
        return self.trades.up and self.book.up and not self.catching_up and not self.silent


def new_lane(symbol: str, backoff: Callable[[], Backoff], last_id: int | None) -> Lane:
    """A symbol that is not connected yet; ``last_id`` is the last trade of an earlier run."""
    return Lane(
        symbol, Channel("trade", symbol, backoff()), Channel("orderbook", symbol, backoff()), backoff(), last_id
    )
