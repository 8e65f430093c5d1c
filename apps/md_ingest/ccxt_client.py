"""The ccxt.pro client as the feed wants it: built in one place, never pointed half at a simulator, half at a venue.

Also here: what its errors ask us to do. ccxt is untyped; ``ExchangeClient`` says what of it we use.
"""

from __future__ import annotations

import asyncio
import difflib
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import ccxt.pro
from ccxt.base import errors as ccxt_errors

from core.errors import ConfigError, FeedError

TRADES_CACHED: Final = 10_000  # trades per symbol that ccxt keeps for us while we do not look
CONNECT_TIMEOUT_S: Final = 10.0  # until an opening socket is given up
REQUEST_TIMEOUT_S: Final = 10.0  # until a REST request is given up
MAX_RETRY_AFTER_S: Final = 300.0  # the longest pause that a venue may ask of us

VenueErrors: Final = (ccxt_errors.BaseError, OSError)  # ccxt raises ConnectionError when a new socket is closed at once
ChecksumError: Final = ccxt_errors.ChecksumError
AuthenticationError: Final = ccxt_errors.AuthenticationError
RequestTimeout: Final = ccxt_errors.RequestTimeout
_PERMANENT: Final = (
    ccxt_errors.AuthenticationError,
    ccxt_errors.ArgumentsRequired,
    ccxt_errors.BadSymbol,
    ccxt_errors.NotSupported,
)


class ExchangeClient(Protocol):
    """The part of a ccxt.pro exchange that the feed uses.

    ``frame_listener`` is called with the socket (ccxt's ``Client``) before each message on it is handled.
    """

    id: str
    apiKey: str  # noqa: N815  # ccxt's name
    has: Mapping[str, object]
    urls: Mapping[str, Any]
    clients: Mapping[str, Any]
    trades: Mapping[str, Any]
    markets: Mapping[str, Mapping[str, Any]] | None
    last_response_headers: Mapping[str, str] | None
    frame_listener: Callable[[Any], None] | None

    async def load_markets(self, reload: bool = False) -> Mapping[str, Mapping[str, Any]]:
        """The venue's symbols."""
        ...

    async def watch_trades(self, symbol: str) -> list[dict[str, Any]]:
        """The next trades."""
        ...

    async def watch_order_book(self, symbol: str) -> dict[str, Any]:
        """The next book."""
        ...

    async def watch_bids_asks(self, symbols: list[str]) -> dict[str, dict[str, Any]]:
        """The next best bid and offer, by symbol; only where ``has["watchBidsAsks"]``."""
        ...

    async def fetch_trades(
        self, symbol: str, since: int | None, limit: int, params: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Trades over REST."""
        ...

    async def close(self) -> None:
        """Release sockets and sessions."""
        ...


class _Observed:
    """What we add to a ccxt.pro class, by way of the hooks it has for its own subclasses."""

    frame_listener: Callable[[Any], None] | None = None
    dial_not_before_ms: dict[str, int]

    def handle_message(self, client: Any, message: Any) -> None:
        if self.frame_listener is not None:
            self.frame_listener(client)
        super().handle_message(client, message)  # type: ignore[misc]  # of the ccxt class this is mixed into

    def on_error(self, client: Any, error: Any) -> None:
        asked = client.last_retry_after
        if asked is not None:
            wait_ms = int(1000 * min(asked, MAX_RETRY_AFTER_S))
            self.dial_not_before_ms[client.url] = self.milliseconds() + wait_ms  # type: ignore[attr-defined]
        super().on_error(client, error)  # type: ignore[misc]

    def ws_dial_delay(self, url: str) -> float:
        """Only what the venue asked for with Retry-After: the feed waits before it calls, and two backoffs would
        add up."""
        remaining: float = self.dial_not_before_ms.get(url, 0) - self.milliseconds()  # type: ignore[attr-defined]
        return max(0.0, remaining / 1000)


def make_exchange(
    venue: str,
    *,
    urls: Mapping[str, Any] | None = None,
    api_key: str = "",
    secret: str = "",
    request_timeout_s: float = REQUEST_TIMEOUT_S,
    connect_timeout_s: float = CONNECT_TIMEOUT_S,
    min_request_interval_ms: float | None = None,
) -> ExchangeClient:
    """A ccxt.pro client for public market data.

    Args:
        venue: ccxt's name of it, such as ``binanceus``.
        urls: replaces ccxt's whole ``urls.api`` table, nested or with dotted names (``ws.spot``): what is not
            named here does not exist for the client.
            Every address must be on loopback, so that a rehearsal cannot reach a real venue by an omission.
        api_key: sent with the request for old trades where the venue wants one; public data needs none.
        secret: for signed requests, which the feed never makes.
        min_request_interval_ms: REST rate limit, milliseconds per unit of weight; None for ccxt's own.

    Raises:
        ConfigError: no such venue, it cannot stream trades and books, or an address that is not on loopback.
    """
    if venue not in ccxt.pro.exchanges:
        near = difflib.get_close_matches(venue, ccxt.pro.exchanges, n=3)
        raise ConfigError(
            f"--venue: expected a venue that ccxt.pro streams, such as binanceus or kraken, got {venue!r}"
            f"{'; did you mean ' + ', '.join(near) + '?' if near else ''}"
        )
    kind = type(venue, (_Observed, getattr(ccxt.pro, venue)), {})
    config: dict[str, Any] = {
        "enableRateLimit": True,
        "newUpdates": True,
        "timeout": int(request_timeout_s * 1000),
        "apiKey": api_key,
        "secret": secret,
        "options": {"tradesLimit": TRADES_CACHED, "maxRetriesOnFailure": 0},
    }
    if min_request_interval_ms is not None:
        config["rateLimit"] = min_request_interval_ms
    exchange: Any = kind(config)
    exchange.dial_not_before_ms = {}
    exchange.options["ws"] = {**exchange.options.get("ws", {}), "connectionTimeout": int(connect_timeout_s * 1000)}
    if urls is not None:
        exchange.urls = {"api": _nested(urls)}
        require_loopback(exchange.urls["api"], "urls.api")
    missing = [name for name in ("watchTrades", "watchOrderBook", "fetchTrades") if not exchange.has.get(name)]
    if missing:
        raise ConfigError(
            f"--venue {venue}: expected a venue with {', '.join(missing)}, which ccxt does not offer there"
        )
    client: ExchangeClient = exchange
    return client


def require_loopback(urls: Mapping[str, Any], key_path: str) -> None:
    """Raise ConfigError, naming the key, unless every address in the (nested) table is on this machine."""
    is_empty = True
    for key, address in _leaves(urls, key_path):
        is_empty = False
        if not _is_loopback(address):
            raise ConfigError(
                f"{key}: expected an address on loopback, such as http://127.0.0.1:8000/api/v3, got {address!r}. "
                "Addresses are only replaced for a simulator; leave the table out to use the venue's own."
            )
    if is_empty:
        raise ConfigError(f"{key_path}: expected at least one address, got an empty table")


def _leaves(table: Mapping[str, Any], key_path: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{key_path}.{key}")
        else:
            yield f"{key_path}.{key}", value


def _nested(table: Mapping[str, Any]) -> dict[str, Any]:
    """``ws.spot`` becomes ``spot`` inside ``ws``."""
    out: dict[str, Any] = {}
    for name, value in table.items():
        *folders, key = name.split(".")
        place = out
        for folder in folders:
            place = place.setdefault(folder, {})
        if isinstance(value, Mapping):
            place.setdefault(key, {}).update(_nested(value))
        else:
            place[key] = str(value)
    return out


def _is_loopback(address: object) -> bool:
    if not isinstance(address, str) or "{" in address:  # ccxt fills {hostname} with the venue's own
        return False
    try:
        host = urlsplit(address).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_cancelled() -> bool:
    """Whether it is this task that is being cancelled, and not a future of ccxt's that it awaited."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def is_permanent(error: Exception) -> bool:
    """Whether trying again cannot help: a wrong symbol or key, something the venue does not have."""
    return isinstance(error, _PERMANENT)


def explained(error: Exception, venue: str, symbol: str, requested: str) -> ConfigError:
    """A permanent error in our words."""
    return ConfigError(
        f"{venue} refuses {requested} of {symbol}: {shown(error)}. Check --symbol, --venue and the API key."
    )


def shown(error: BaseException) -> str:
    """An error in one line, with ccxt's name for it."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def retry_after_s(exchange: ExchangeClient, error: Exception) -> float:
    """How long a venue that limits us asks us to stay away, seconds; 0 when it does not say.

    ccxt raises DDoSProtection for 429 and 418 and leaves the header in ``last_response_headers``.
    """
    if not isinstance(error, ccxt_errors.DDoSProtection | ccxt_errors.RateLimitExceeded):
        return 0.0
    for name, value in (exchange.last_response_headers or {}).items():
        if name.lower() == "retry-after" and value.isdecimal():
            return min(float(value), MAX_RETRY_AFTER_S)
    return 0.0


async def check_symbols(exchange: ExchangeClient, symbols: tuple[str, ...]) -> None:
    """Load the venue's symbols and look ours up.

    Raises:
        ConfigError: a symbol the venue does not have; names the nearest ones that it has.
        FeedError: the venue answered without any symbol.
        ccxt.BaseError, OSError: the venue could not be asked.
    """
    markets = await exchange.load_markets()
    if not markets:
        raise FeedError(f"{exchange.id}: expected a list of symbols, got an empty one")
    for symbol in symbols:
        if symbol not in markets:
            near = difflib.get_close_matches(symbol, list(markets), n=3)
            raise ConfigError(
                f"--symbol: expected one of the {len(markets)} symbols of {exchange.id}, got {symbol!r}; "
                f"nearest: {', '.join(near) or ', '.join(list(markets)[:3])}"
            )
