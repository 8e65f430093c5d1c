"""ccxt's dictionaries as events. Its numbers are the floats nearest to the venue's decimals, its times milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from core.clock import NS_PER_MS
from core.contracts import BboEvent, BookEvent, Level, TradeEvent
from core.errors import ContractError
from core.market.book import DEPTH, book_checksum
from core.market.sequence import numeric_id

Unreadable: Final = (ContractError, TypeError, KeyError, ValueError)  # what a broken dictionary raises here


def trade_event(trade: Mapping[str, Any], symbol: str, venue: str, ts_recv_ns: int) -> TradeEvent:
    """One trade of ``watch_trades`` or ``fetch_trades``; ccxt's side is the taker's. Raises ``Unreadable``."""
    return TradeEvent(
        symbol=symbol,
        price=float(trade["price"]),
        qty=float(trade["amount"]),
        side=trade["side"],
        ts=int(trade["timestamp"]) * NS_PER_MS,
        trade_id=str(trade["id"] or ""),
        venue=venue,
        ts_recv_ns=ts_recv_ns,
    )


def book_event(book: Mapping[str, Any], symbol: str, venue: str, ts_recv_ns: int, market_ts: int) -> BookEvent:
    """The top of ``watch_order_book``. A snapshot carries no time; it is not older than what came before it
    (``market_ts``, epoch nanoseconds). Raises ``Unreadable``."""
    bids, asks = _levels(book["bids"]), _levels(book["asks"])
    at_ms = book.get("timestamp")
    return BookEvent(
        symbol=symbol,
        bids=bids,
        asks=asks,
        checksum=book_checksum(bids, asks),
        ts=market_ts if at_ms is None else int(at_ms) * NS_PER_MS,
        last_id=int(book.get("nonce") or 0),
        venue=venue,
        ts_recv_ns=ts_recv_ns,
    )


def bbo_event(ticker: Mapping[str, Any], symbol: str, venue: str, ts_recv_ns: int, market_ts: int) -> BboEvent:
    """The best bid and offer of ``watch_bids_asks``, without a time at ``market_ts``. Raises ``Unreadable``."""
    at_ms = ticker.get("timestamp")
    return BboEvent(
        symbol=symbol,
        bid_price=float(ticker["bid"]),
        bid_qty=float(ticker["bidVolume"]),
        ask_price=float(ticker["ask"]),
        ask_qty=float(ticker["askVolume"]),
        update_id=numeric_id(str((ticker.get("info") or {}).get("u", ""))) or 0,
        ts=market_ts if at_ms is None else int(at_ms) * NS_PER_MS,
        venue=venue,
        ts_recv_ns=ts_recv_ns,
    )


def _levels(side: Any) -> tuple[Level, ...]:
    return tuple((float(level[0]), float(level[1])) for level in side[:DEPTH])
