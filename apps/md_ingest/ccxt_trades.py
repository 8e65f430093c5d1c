"""Trades from ccxt's dictionaries, and missing ones over REST by trade id.

The ``@trade`` stream and ``trades``/``historicalTrades`` number the same trades; ``aggTrades``, ccxt's default,
numbers something else and is never used. Old trades need an API key (ccxt sends it as a header, nothing is
signed); without one only the venue's latest thousand can be had.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from apps.md_ingest.ccxt_client import (
    AuthenticationError,
    ExchangeClient,
    VenueErrors,
    is_permanent,
    retry_after_s,
    shown,
)
from apps.md_ingest.ccxt_events import Unreadable, trade_event
from core.clock import Clock
from core.contracts import TradeEvent
from core.market.sequence import BackfillDone, BackfillRequest, numeric_id
from core.retry import Backoff, BackoffPolicy

PAGE: Final = 1_000  # trades in one answer: the most that Binance gives
MAX_PAGES: Final = 50  # of one request: what is older than 50,000 trades is a gap
MAX_ATTEMPTS: Final = 6  # in a row without a new trade, refused requests included
_LATEST: Final = MappingProxyType({"fetchTradesMethod": "publicGetTrades"})
_log: Final = logging.getLogger("njord.md_ingest.ccxt")


@dataclass(slots=True)
class RestCounters:
    """``pages`` fetched, ``failures`` of requests, ``unreadable`` trades of stream and REST that broke the contract."""

    pages: int = 0
    failures: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class _Page:
    """Neighbouring trades of one symbol, by id."""

    first_id: int
    last_id: int
    trades: dict[int, TradeEvent]


class TradeHistory:
    """Fetches trades over REST.

    Args:
        exchange: the client; it limits its own rate.
        venue: written into the events.
        clock: stamps the receipt.
        backoff: between tries.
        random: the jitter's source, a number in ``[0, 1)``.
    """

    def __init__(
        self,
        exchange: ExchangeClient,
        *,
        venue: str,
        clock: Clock,
        backoff: BackoffPolicy,
        random: Callable[[], float],
        max_pages: int = MAX_PAGES,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        self.counts = RestCounters()
        self._exchange = exchange
        self._venue = venue
        self._clock = clock
        self._policy = backoff
        self._random = random
        self._max_pages = max_pages
        self._max_attempts = max_attempts
        self._numbered_by_binance = exchange.id.startswith("binance")
        self._by_id = self._numbered_by_binance and bool(exchange.apiKey)
        self._last_page: dict[str, _Page] = {}

    @property
    def by_id(self) -> bool:
        """Whether trades of any age can be asked for, or only the venue's latest."""
        return self._by_id

    def events(self, symbol: str, raw: Iterable[dict[str, Any]]) -> list[TradeEvent]:
        """ccxt's trades as events, received now; what breaks the contract is counted and logged."""
        now_ns = self._clock.now_ns()
        out: list[TradeEvent] = []
        for trade in raw:
            try:
                out.append(trade_event(trade, symbol, self._venue, now_ns))
            except Unreadable as error:
                self.counts.unreadable += 1
                _log.warning("%s %s: unreadable trade %s: %s", self._venue, symbol, trade.get("id"), error)
        return out

    async def latest(self, symbol: str) -> list[TradeEvent]:
        """The venue's latest trades in id order, at the last of ``max_attempts`` tries.

        Raises:
            ccxt.BaseError, OSError: the venue could not be asked.
        """
        backoff = Backoff(self._policy, self._random)
        while True:
            try:
                return sorted(await self._fetch(symbol, _LATEST), key=_id)
            except VenueErrors as error:
                if is_permanent(error) or backoff.failures + 1 >= self._max_attempts:
                    raise
                await asyncio.sleep(max(backoff.failed(), retry_after_s(self._exchange, error)))

    async def fetch(self, request: BackfillRequest) -> tuple[list[TradeEvent], BackfillDone]:
        """The requested trades as far as they can be had, in id order, and the word that no more will come.

        Pages through the range, tries again with backoff, and gives up after named limits. What is missing
        stays missing; the answer's ``reason`` says why.
        """
        trades: dict[int, TradeEvent] = {}
        backoff = Backoff(self._policy, self._random)
        next_id, pages, attempts, reason = request.first_id, 0, 0, ""
        while next_id <= request.last_id:
            if pages >= self._max_pages:
                reason = f"more than {self._max_pages} pages of {PAGE} trades were missed"
                break
            if attempts >= self._max_attempts:
                reason = reason or f"not at the venue's REST interface after {attempts} tries"
                break
            try:
                page = await self._page(request.symbol, next_id)
            except VenueErrors as error:
                if is_permanent(error):
                    reason = shown(error)
                    break
                attempts, reason = attempts + 1, shown(error)
                await asyncio.sleep(max(backoff.failed(), retry_after_s(self._exchange, error)))
                continue
            pages += 1
            if page is None or page.last_id < next_id:
                attempts += 1  # REST is behind the stream
                await asyncio.sleep(backoff.failed())
                continue
            reason = self._why_missing(page, next_id) or (reason if trades or pages > 1 else "")
            trades.update((i, t) for i, t in page.trades.items() if request.first_id <= i <= request.last_id)
            attempts, next_id = 0, page.last_id + 1
        complete = len(trades) == request.last_id - request.first_id + 1
        done = BackfillDone(
            request.symbol,
            request.first_id,
            request.last_id,
            "" if complete else reason or "the venue does not have them",
            self._clock.now_ns(),
        )
        return [trades[i] for i in sorted(trades)], done

    def _why_missing(self, page: _Page, next_id: int) -> str:
        if page.first_id <= next_id:
            return ""
        if self._by_id:
            return f"the venue's history starts at {page.first_id}"
        return f"no longer among the venue's last {PAGE} trades, older ones need an API key"

    async def _page(self, symbol: str, first_id: int) -> _Page | None:
        """Trades from an id on; without access by id, the latest ones. None when there is none to be had."""
        kept = self._last_page.get(symbol)
        if kept is not None and kept.first_id <= first_id <= kept.last_id:
            return kept
        params: Mapping[str, Any] = _LATEST
        if self._by_id:
            params = {"fetchTradesMethod": "publicGetHistoricalTrades", "fromId": first_id}
        try:
            trades = await self._fetch(symbol, params)
        except AuthenticationError as error:
            if not self._by_id:
                raise
            self._by_id = False
            _log.warning("%s: no access to old trades, only the latest %d are left: %s", self._venue, PAGE, error)
            return await self._page(symbol, first_id)
        by_id = {i: t for t in trades if (i := numeric_id(t.trade_id)) is not None}
        if not by_id:
            return None
        page = self._last_page[symbol] = _Page(min(by_id), max(by_id), by_id)
        return page

    async def _fetch(self, symbol: str, params: Mapping[str, Any]) -> list[TradeEvent]:
        try:
            raw = await self._exchange.fetch_trades(symbol, None, PAGE, params if self._numbered_by_binance else {})
        except VenueErrors:
            self.counts.failures += 1
            raise
        self.counts.pages += 1
        return self.events(symbol, raw)


def _id(trade: TradeEvent) -> int:
    return numeric_id(trade.trade_id) or 0
