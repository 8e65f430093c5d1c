"""One symbol of the venue without any I/O: the tape of trades with contiguous ids, and the book with update ids.

Prices and quantities are exact decimals, as on the venue's wire. Whoever drives the market (a seeded flow,
a capture, a test, later a matching engine) calls ``trade`` and ``set_level``; the server only reads.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from core.errors import ContractError
from core.instruments import Instrument, file_symbol

BookSide = Literal["bids", "asks"]
MAX_PAGE: Final = 1000  # rows in one REST answer, as at the venue


@dataclass(frozen=True, slots=True)
class VenueTrade:
    """One trade. ``buyer_is_maker``: the taker sold."""

    id: int
    price: Decimal
    qty: Decimal
    ts_ms: int
    buyer_is_maker: bool


@dataclass(frozen=True, slots=True)
class AggregateTrade:
    """Trades ``first`` to ``last`` of one taker order at one price. Its id counts aggregates, not trades."""

    id: int
    first: VenueTrade
    last: VenueTrade
    qty: Decimal


@dataclass(frozen=True, slots=True)
class DepthDiff:
    """What the book changed from update ``first_id`` to ``last_id``; quantity 0 removes a level."""

    first_id: int
    last_id: int
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


@dataclass(frozen=True, slots=True)
class DepthSnapshot:
    """The book's best levels as of update ``last_id``, best first."""

    last_id: int
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]


@dataclass(frozen=True, slots=True)
class BestPrices:
    """The best bid and ask with their quantities, as of an update of the book."""

    update_id: int
    bid: Decimal
    bid_qty: Decimal
    ask: Decimal
    ask_qty: Decimal


@dataclass(frozen=True)
class VenueSymbol:
    """What the venue says about a symbol. Sizes in quote (``tick``, ``min_notional``) or base currency (``lot``).

    Raises:
        ContractError: a name that is not BASE/QUOTE, a size that is not above 0.
    """

    symbol: str
    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal("0.00001")
    min_notional: Decimal = Decimal(10)

    def __post_init__(self) -> None:
        Instrument(self.symbol, self.tick, self.lot, self.min_notional)  # holds it to the same rules

    @property
    def venue_name(self) -> str:
        """``BTCUSDT``."""
        return file_symbol(self.symbol)


@dataclass
class _Changes:
    """Levels that changed since the last diff was taken, in the order they changed."""

    first_id: int
    bids: dict[Decimal, Decimal] = field(default_factory=dict)
    asks: dict[Decimal, Decimal] = field(default_factory=dict)


class VenueMarket:
    """The state of one symbol.

    Args:
        symbol: its name and steps.
        first_trade_id: the id of the first trade.
        first_update_id: the id of the first change of the book.
    """

    def __init__(self, symbol: VenueSymbol, *, first_trade_id: int = 1_000, first_update_id: int = 50_000) -> None:
        self.symbol = symbol
        self._tape: list[VenueTrade] = []
        self._next_trade_id = first_trade_id
        self._update_id = first_update_id - 1
        self._levels: dict[BookSide, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
        self._changes = _Changes(first_update_id)
        self._last_best: tuple[Decimal, ...] = ()

    @property
    def next_trade_id(self) -> int:
        """The id that the next trade gets."""
        return self._next_trade_id

    @property
    def tape(self) -> Sequence[VenueTrade]:
        """Every trade there was, in order."""
        return tuple(self._tape)

    @property
    def last_update_id(self) -> int:
        """The update id that the book stands at."""
        return self._update_id

    def trade(
        self, price: Decimal, qty: Decimal, *, buyer_is_maker: bool, ts_ms: int, trade_id: int | None = None
    ) -> VenueTrade:
        """Put a trade on the tape. Raises ContractError for an id that is not the next one."""
        if trade_id is not None and not self._tape:
            self._next_trade_id = trade_id
        if trade_id not in (None, self._next_trade_id):
            raise ContractError(f"{self.symbol.symbol}: expected trade id {self._next_trade_id}, got {trade_id}")
        trade = VenueTrade(self._next_trade_id, price, qty, ts_ms, buyer_is_maker)
        self._tape.append(trade)
        self._next_trade_id += 1
        return trade

    def set_level(self, side: BookSide, price: Decimal, qty: Decimal) -> None:
        """Set the quantity at a price, 0 to remove it; counts as one update of the book."""
        self._update_id += 1
        self._note(side, price, qty)

    def apply_depth(
        self,
        last_id: int,
        bids: Iterable[tuple[Decimal, Decimal]],
        asks: Iterable[tuple[Decimal, Decimal]],
        *,
        first_id: int | None = None,
    ) -> None:
        """Take over a diff with the venue's own update ids, or, without ``first_id``, a snapshot."""
        if first_id is None:
            self._levels = {"bids": {}, "asks": {}}
            self._changes = _Changes(last_id + 1)
        for price, qty in bids:
            self._note("bids", price, qty)
        for price, qty in asks:
            self._note("asks", price, qty)
        if first_id is None:
            self._changes = _Changes(last_id + 1)
        self._update_id = last_id

    def _note(self, side: BookSide, price: Decimal, qty: Decimal) -> None:
        levels = self._levels[side]
        if qty > 0:
            levels[price] = qty
        else:
            levels.pop(price, None)
        getattr(self._changes, side)[price] = qty

    def take_diff(self) -> DepthDiff | None:
        """The changes since the last call, or None when the book stood still."""
        if self._update_id < self._changes.first_id:
            return None
        changes, self._changes = self._changes, _Changes(self._update_id + 1)
        return DepthDiff(
            changes.first_id, self._update_id, tuple(changes.bids.items()), tuple(changes.asks.items())
        )  # fmt: skip

    def snapshot(self, limit: int = MAX_PAGE) -> DepthSnapshot:
        """The best ``limit`` levels a side."""
        bids = sorted(self._levels["bids"].items(), reverse=True)[:limit]
        asks = sorted(self._levels["asks"].items())[:limit]
        return DepthSnapshot(self._update_id, tuple(bids), tuple(asks))

    def take_best(self) -> BestPrices | None:
        """The best bid and ask, or None when they stand as at the last call, or a side is empty."""
        bid, ask = self.best("bids"), self.best("asks")
        if bid is None or ask is None or bid >= ask:
            return None
        prices = (bid, self.level("bids", bid), ask, self.level("asks", ask))
        if prices == self._last_best:
            return None
        self._last_best = prices
        return BestPrices(self._update_id, *prices)

    def best(self, side: BookSide) -> Decimal | None:
        """The best price of a side, None when it is empty."""
        levels = self._levels[side]
        return None if not levels else (max(levels) if side == "bids" else min(levels))

    def level(self, side: BookSide, price: Decimal) -> Decimal:
        """The quantity at a price, 0 where there is none."""
        return self._levels[side].get(price, Decimal(0))

    def levels(self, side: BookSide) -> Sequence[Decimal]:
        """The prices of a side, best first."""
        return sorted(self._levels[side], reverse=side == "bids")

    def recent(self, limit: int = 500, *, history: int | None = None) -> Sequence[VenueTrade]:
        """The latest trades in order. ``history``: how many the venue remembers at all."""
        kept = min(limit, MAX_PAGE, len(self._tape) if history is None else history)
        return self._tape[len(self._tape) - kept :] if kept < len(self._tape) else list(self._tape)

    def from_id(self, first_id: int, limit: int = 500, *, history: int | None = None) -> Sequence[VenueTrade]:
        """Trades from an id on, in order; starts at the oldest one that is remembered."""
        start = bisect_left(self._tape, first_id, key=lambda t: t.id)
        if history is not None:
            start = max(start, len(self._tape) - history)
        return self._tape[start : start + min(limit, MAX_PAGE)]

    def aggregates(self) -> Sequence[AggregateTrade]:
        """The whole tape as aggregate trades: neighbours of the same moment, price and side are one."""
        out: list[AggregateTrade] = []
        for trade in self._tape:
            last = out[-1] if out else None
            if last is not None and _same_order(last.last, trade):
                out[-1] = AggregateTrade(last.id, last.first, trade, last.qty + trade.qty)
            else:
                out.append(AggregateTrade(len(out) + 1, trade, trade, trade.qty))
        return out


def _same_order(a: VenueTrade, b: VenueTrade) -> bool:
    return (a.price, a.ts_ms, a.buyer_is_maker) == (b.price, b.ts_ms, b.buyer_is_maker)
