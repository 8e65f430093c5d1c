"""The venue's JSON: what Binance's REST and stream messages look like for trades, books and symbols.

Pure functions from the market's facts to plain values; numbers are strings with the venue's decimals.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from apps.venue_sim.market import AggregateTrade, BestPrices, DepthDiff, DepthSnapshot, VenueSymbol, VenueTrade

TRADE_STREAM: Final = "trade"
DEPTH_STREAMS: Final = ("depth", "depth@100ms")
BEST_STREAM: Final = "bookTicker"
_DECIMALS: Final = Decimal("0.00000001")


def number(value: Decimal) -> str:
    """A number as the venue writes it: eight decimals."""
    return format(value.quantize(_DECIMALS), "f")


def trade_frame(symbol: VenueSymbol, trade: VenueTrade, sent_ms: int) -> dict[str, Any]:
    """The message of the ``@trade`` stream."""
    return {
        "e": "trade", "E": sent_ms, "s": symbol.venue_name, "t": trade.id, "p": number(trade.price),
        "q": number(trade.qty), "T": trade.ts_ms, "m": trade.buyer_is_maker, "M": True,
    }  # fmt: skip


def depth_frame(symbol: VenueSymbol, diff: DepthDiff, sent_ms: int) -> dict[str, Any]:
    """The message of the ``@depth`` streams."""
    return {
        "e": "depthUpdate", "E": sent_ms, "s": symbol.venue_name, "U": diff.first_id, "u": diff.last_id,
        "b": _levels(diff.bids), "a": _levels(diff.asks),
    }  # fmt: skip


def best_frame(symbol: VenueSymbol, best: BestPrices) -> dict[str, Any]:
    """The message of the ``@bookTicker`` stream, which carries neither event nor time."""
    return {
        "u": best.update_id, "s": symbol.venue_name, "b": number(best.bid), "B": number(best.bid_qty),
        "a": number(best.ask), "A": number(best.ask_qty),
    }  # fmt: skip


def trade_row(trade: VenueTrade) -> dict[str, Any]:
    """A row of ``trades`` and ``historicalTrades``."""
    return {
        "id": trade.id, "price": number(trade.price), "qty": number(trade.qty),
        "quoteQty": number(trade.price * trade.qty), "time": trade.ts_ms,
        "isBuyerMaker": trade.buyer_is_maker, "isBestMatch": True,
    }  # fmt: skip


def aggregate_row(trade: AggregateTrade) -> dict[str, Any]:
    """A row of ``aggTrades``; ``a`` is not a trade id, ``f`` and ``l`` are."""
    return {
        "a": trade.id, "p": number(trade.first.price), "q": number(trade.qty), "f": trade.first.id,
        "l": trade.last.id, "T": trade.first.ts_ms, "m": trade.first.buyer_is_maker, "M": True,
    }  # fmt: skip


def depth_body(snapshot: DepthSnapshot) -> dict[str, Any]:
    """The answer of ``depth``."""
    return {
        "lastUpdateId": snapshot.last_id, "bids": _levels(snapshot.bids), "asks": _levels(snapshot.asks)
    }  # fmt: skip


def exchange_info(symbols: list[VenueSymbol], now_ms: int) -> dict[str, Any]:
    """The answer of ``exchangeInfo``."""
    return {
        "timezone": "UTC", "serverTime": now_ms, "rateLimits": [], "exchangeFilters": [],
        "symbols": [_symbol(s) for s in symbols],
    }  # fmt: skip


def error_body(code: int, text: str) -> dict[str, Any]:
    """A refused REST request."""
    return {"code": code, "msg": text}


def acknowledgement(request_id: Any) -> dict[str, Any]:
    """The answer to SUBSCRIBE and UNSUBSCRIBE."""
    return {"result": None, "id": request_id}


def stream_error(request_id: Any, text: str) -> dict[str, Any]:
    """A refused stream request."""
    return {"error": {"code": 2, "msg": text}, "id": request_id}


def _symbol(symbol: VenueSymbol) -> dict[str, Any]:
    base, quote = symbol.symbol.split("/")
    return {
        "symbol": symbol.venue_name, "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
        "baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"], "icebergAllowed": True, "ocoAllowed": True,
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": number(symbol.tick), "maxPrice": "10000000.00000000",
             "tickSize": number(symbol.tick)},
            {"filterType": "LOT_SIZE", "minQty": number(symbol.lot), "maxQty": "9000.00000000",
             "stepSize": number(symbol.lot)},
            {"filterType": "NOTIONAL", "minNotional": number(symbol.min_notional), "applyMinToMarket": True,
             "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
        ],
    }  # fmt: skip


def _levels(levels: tuple[tuple[Decimal, Decimal], ...]) -> list[list[str]]:
    return [[number(price), number(qty)] for price, qty in levels]
