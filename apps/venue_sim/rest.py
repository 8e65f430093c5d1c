"""The venue's public REST endpoints under ``/api/v3``: symbols, depth, trades, history, time.

Answers and error codes are Binance's; every request passes the REST faults first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from apps.venue_sim import wire
from apps.venue_sim.faults import RestFaults, RestRefusal
from apps.venue_sim.market import MAX_PAGE, VenueMarket
from core.clock import NS_PER_MS, Clock

API_KEY_HEADER: Final = "X-MBX-APIKEY"
WEIGHT_HEADER: Final = "x-mbx-used-weight-1m"
_DEFAULT_ROWS: Final = 500
_DEFAULT_DEPTH: Final = 100

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _RefusedError(Exception):
    def __init__(self, status: int, code: int, text: str) -> None:
        self.status, self.code, self.text = status, code, text


class RestApi:
    """Serves the markets. ``requests`` counts by endpoint. ``key_required``: old trades only with an API key."""

    def __init__(
        self, markets: Mapping[str, VenueMarket], faults: RestFaults, clock: Clock, *, key_required: bool = True
    ) -> None:
        self.requests: dict[str, int] = {}
        self._markets = markets
        self._faults = faults
        self._clock = clock
        self._key_required = key_required
        self._endpoints: dict[str, Callable[[web.Request], Any]] = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": self._now_ms()},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "trades": self._trades,
            "historicalTrades": self._historical_trades,
            "aggTrades": self._aggregate_trades,
        }

    def routes(self) -> list[web.RouteDef]:
        """Every endpoint, for the server's router."""
        return [web.get(f"/api/v3/{name}", self._handler(name)) for name in self._endpoints]

    def _handler(self, endpoint: str) -> Handler:
        answer = self._endpoints[endpoint]

        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests[endpoint] = self.requests.get(endpoint, 0) + 1
            if self._faults.delay_s:
                await asyncio.sleep(self._faults.delay_s)
            refusal = self._faults.next_for(endpoint)
            if refusal is not None:
                return await _refused(refusal)
            try:
                body = answer(request)
            except _RefusedError as refused:
                return web.json_response(wire.error_body(refused.code, refused.text), status=refused.status)
            return web.json_response(body, headers={WEIGHT_HEADER: str(sum(self.requests.values()))})

        return handle

    def _exchange_info(self, _: web.Request) -> Any:
        return wire.exchange_info([m.symbol for m in self._markets.values()], self._now_ms())

    def _depth(self, request: web.Request) -> Any:
        return wire.depth_body(self._market(request).snapshot(_integer(request, "limit", _DEFAULT_DEPTH)))

    def _trades(self, request: web.Request) -> Any:
        trades = self._market(request).recent(_rows(request), history=self._faults.history)
        return [wire.trade_row(t) for t in trades]

    def _historical_trades(self, request: web.Request) -> Any:
        if self._key_required and not request.headers.get(API_KEY_HEADER):
            raise _RefusedError(401, -2014, "API-key format invalid.")
        market = self._market(request)
        if "fromId" not in request.query:
            return self._trades(request)
        trades = market.from_id(_integer(request, "fromId", 0), _rows(request), history=self._faults.history)
        return [wire.trade_row(t) for t in trades]

    def _aggregate_trades(self, request: web.Request) -> Any:
        rows = self._market(request).aggregates()
        limit = _rows(request)
        if "fromId" in request.query:
            first = _integer(request, "fromId", 0)
            page = [t for t in rows if t.id >= first][:limit]
        else:
            page = list(rows[-limit:])
        return [wire.aggregate_row(t) for t in page]

    def _market(self, request: web.Request) -> VenueMarket:
        market = self._markets.get(request.query.get("symbol", ""))
        if market is None:
            raise _RefusedError(400, -1121, "Invalid symbol.")
        return market

    def _now_ms(self) -> int:
        return self._clock.now_ns() // NS_PER_MS


async def _refused(refusal: RestRefusal) -> web.StreamResponse:
    if refusal.status == 0:
        await asyncio.Event().wait()  # ends when the client leaves or the server stops
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    body = wire.error_body(refusal.code, refusal.text)
    return web.json_response(body, status=refusal.status, headers=headers)


def _integer(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isdecimal():
        raise _RefusedError(400, -1100, f"Illegal characters found in parameter '{name}'.")
    return int(text)


def _rows(request: web.Request) -> int:
    return min(_integer(request, "limit", _DEFAULT_ROWS), MAX_PAGE)
