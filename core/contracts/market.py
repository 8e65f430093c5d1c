"""Market data as messages: trades, books, tickers, bars, and what a feed says of itself and of time."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Final, Literal, get_args

from core.contracts.base import (
    LATEST_NS,
    Contract,
    Level,
    check_ladder,
    check_named,
    check_not_negative,
    check_one_of,
    check_positive,
    check_time,
    fail,
)
from core.contracts.fast_init import quickly_built

Side = Literal["buy", "sell"]
FeedChannel = Literal["trades", "book"]
FeedState = Literal["connecting", "live", "stale", "reconnecting", "ended"]

SIDES: Final = ("buy", "sell")
FEED_STATES: Final[tuple[str, ...]] = get_args(FeedState)
FEED_CHANNELS: Final[tuple[str, ...]] = get_args(FeedChannel)


@quickly_built
@dataclass(frozen=True, slots=True)
class TradeEvent(Contract):
    """One trade of the venue. ``side`` is the taker's; ``ts`` the venue's trade time, ``ts_recv_ns`` ours."""

    symbol: str
    price: float
    qty: float
    side: Side
    ts: int
    trade_id: str = ""
    venue: str = ""
    ts_recv_ns: int = 0

    def __post_init__(self) -> None:
        if not (
            (0 < self.price < inf and 0 < self.qty < inf and self.symbol)
            and (0 < self.ts <= LATEST_NS and 0 <= self.ts_recv_ns <= LATEST_NS)
        ):
            check_named(self, "symbol", self.symbol)
            check_positive(self, "price", self.price)
            check_positive(self, "qty", self.qty)
            check_positive(self, "ts", self.ts)
            check_time(self, "ts", self.ts)
            check_time(self, "ts_recv_ns", self.ts_recv_ns)
        if self.side != "buy" and self.side != "sell":
            raise fail(self, "side", "one of buy, sell", self.side)

    @property
    def ts_ns(self) -> int:
        return self.ts


@quickly_built
@dataclass(frozen=True, slots=True)
class BookEvent(Contract):
    """The top of the order book, best level first, ``(price, qty)`` each; never crossed.

    ``checksum`` is the CRC-32 of the levels (see ``core.market.book.book_checksum``), ``last_id`` the
    venue's update id that the book stands at.
    """

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    checksum: int
    ts: int = 0
    last_id: int = 0
    venue: str = ""
    ts_recv_ns: int = 0

    def __post_init__(self) -> None:
        check_named(self, "symbol", self.symbol)
        check_time(self, "ts", self.ts)
        check_time(self, "ts_recv_ns", self.ts_recv_ns)
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            raise fail(self, "bids", f"a best bid below the best ask {self.asks[0][0]}", self.bids[0][0])
        check_ladder(self, "bids", self.bids, descending=True)
        check_ladder(self, "asks", self.asks, descending=False)

    @property
    def ts_ns(self) -> int:
        return self.ts


@quickly_built
@dataclass(frozen=True, slots=True)
class BboEvent(Contract):
    """The best bid and offer of an instrument, after a change of either price or quantity; never crossed.

    ``update_id`` is the venue's, in the same numbering as ``BookEvent.last_id``; 0 where it gives none.
    """

    symbol: str
    bid_price: float
    bid_qty: float
    ask_price: float
    ask_qty: float
    update_id: int = 0
    ts: int = 0
    venue: str = ""
    ts_recv_ns: int = 0

    def __post_init__(self) -> None:
        if not (
            (0 < self.bid_price < self.ask_price < inf and 0 <= self.bid_qty < inf and 0 <= self.ask_qty < inf)
            and (self.symbol and 0 <= self.ts <= LATEST_NS and 0 <= self.ts_recv_ns <= LATEST_NS)
        ):
            check_named(self, "symbol", self.symbol)
            check_positive(self, "bid_price", self.bid_price)
            check_positive(self, "ask_price", self.ask_price)
            check_not_negative(self, "bid_qty", self.bid_qty)
            check_not_negative(self, "ask_qty", self.ask_qty)
            check_time(self, "ts", self.ts)
            check_time(self, "ts_recv_ns", self.ts_recv_ns)
            raise fail(self, "bid_price", f"a best bid below the best ask {self.ask_price}", self.bid_price)

    @property
    def ts_ns(self) -> int:
        return self.ts


@quickly_built
@dataclass(frozen=True, slots=True)
class TickerEvent(Contract):
    """Best bid and ask with the last price. ``volume`` is the rolling day's, in base currency; 0 if unknown."""

    symbol: str
    last: float
    bid: float
    ask: float
    volume: float
    ts: int = 0
    venue: str = ""
    ts_recv_ns: int = 0

    def __post_init__(self) -> None:
        check_named(self, "symbol", self.symbol)
        check_not_negative(self, "last", self.last)
        check_positive(self, "bid", self.bid)
        check_positive(self, "ask", self.ask)
        check_not_negative(self, "volume", self.volume)
        check_time(self, "ts", self.ts)
        check_time(self, "ts_recv_ns", self.ts_recv_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts


@quickly_built
@dataclass(frozen=True, slots=True)
class FeedGap(Contract):
    """Trades ``first_id`` to ``last_id`` (both included) of a symbol were missed and could not be fetched."""

    symbol: str
    venue: str
    first_id: int
    last_id: int
    ts_detected_ns: int
    reason: str

    def __post_init__(self) -> None:
        check_named(self, "symbol", self.symbol)
        check_time(self, "ts_detected_ns", self.ts_detected_ns)
        if self.last_id < self.first_id:
            raise fail(self, "last_id", f"an id of at least {self.first_id}", self.last_id)

    @property
    def ts_ns(self) -> int:
        return self.ts_detected_ns

    @property
    def missing(self) -> int:
        """How many trades are missing."""
        return self.last_id - self.first_id + 1


@quickly_built
@dataclass(frozen=True, slots=True)
class FeedStatus(Contract):
    """A change in the health of the market data source of one symbol: its trades, or its order book alone."""

    symbol: str
    venue: str
    state: FeedState
    ts_changed_ns: int
    detail: str = ""
    channel: FeedChannel = "trades"

    def __post_init__(self) -> None:
        check_named(self, "symbol", self.symbol)
        check_one_of(self, "state", self.state, FEED_STATES)
        check_one_of(self, "channel", self.channel, FEED_CHANNELS)
        check_time(self, "ts_changed_ns", self.ts_changed_ns)

    @property
    def ts_ns(self) -> int:
        return self.ts_changed_ns


@quickly_built
@dataclass(frozen=True, slots=True)
class ClockTick(Contract):
    """Time has reached ``ts``: once a second of market time, so that windows close when nothing trades."""

    ts: int

    def __post_init__(self) -> None:
        check_positive(self, "ts", self.ts)
        check_time(self, "ts", self.ts)

    @property
    def ts_ns(self) -> int:
        return self.ts


@quickly_built
@dataclass(frozen=True, slots=True)
class OHLCVBar(Contract):
    """One bar over ``[ts_open, ts_close)``.

    ``partial``: something of the window is missing or may be. It was running when data began, it lacks minutes, or an
    outage of the feed or a recorded gap overlaps it.
    """

    symbol: str
    timeframe: str
    ts_open: int
    ts_close: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int = 0
    partial: bool = False

    def __post_init__(self) -> None:
        check_named(self, "symbol", self.symbol)
        if self.ts_close <= self.ts_open:
            raise fail(self, "ts_close", f"a time after ts_open {self.ts_open}", self.ts_close)
        check_time(self, "ts_open", self.ts_open)
        check_time(self, "ts_close", self.ts_close)
        check_positive(self, "low", self.low)
        # Not by min and max, which may drop a NaN.
        if not (self.low <= self.open <= self.high < inf and self.low <= self.close <= self.high):
            raise fail(self, "high", "low <= open, close <= high", (self.open, self.high, self.low, self.close))
        check_not_negative(self, "volume", self.volume)

    @property
    def ts_ns(self) -> int:
        return self.ts_close
