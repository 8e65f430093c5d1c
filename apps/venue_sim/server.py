"""The venue on loopback: REST and market streams on one port, and the faults that need the server's hand.

It listens on 127.0.0.1 only. Orders and user streams will join as further APIs beside ``RestApi`` and ``StreamHub``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from apps.venue_sim import wire
from apps.venue_sim.faults import RestFaults, StreamFaults
from apps.venue_sim.market import VenueMarket, VenueTrade
from apps.venue_sim.rest import RestApi
from apps.venue_sim.streams import StreamHub
from core.clock import NS_PER_MS, Clock

HOST: Final = "127.0.0.1"
_DRAIN_S: Final = 0.1  # how long a stopping server waits for its clients


class VenueServer:
    """Serves markets to Binance clients.

    Args:
        markets: what is traded here.
        clock: the venue's time.
        port: 0 for any free one; the same one is used again after ``down``.
        key_required: whether ``historicalTrades`` wants an API key, as the venue does.
        seed: of the faults' randomness; ``drop``, ``duplicate`` and ``reorder`` as in ``StreamFaults``.

    Raises:
        ConfigError: a fraction outside 0 to 1.
    """

    def __init__(
        self,
        markets: Iterable[VenueMarket],
        *,
        clock: Clock,
        port: int = 0,
        key_required: bool = True,
        seed: int = 0,
        drop: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
    ) -> None:
        self.markets = {m.symbol.venue_name: m for m in markets}
        self.stream_faults = StreamFaults(seed=seed, drop=drop, duplicate=duplicate, reorder=reorder)
        self.rest_faults = RestFaults()
        self.streams = StreamHub(self.stream_faults)
        self.rest = RestApi(self.markets, self.rest_faults, clock, key_required=key_required)
        self._clock = clock
        self._port = port
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    @property
    def port(self) -> int:
        """The port it listens on; 0 before the start when any was asked for."""
        return self._port

    @property
    def http_url(self) -> str:
        """Where REST requests go, without a path."""
        return f"http://{HOST}:{self._port}"

    @property
    def ws_url(self) -> str:
        """Where sockets go, without a path."""
        return f"ws://{HOST}:{self._port}"

    def client_urls(self) -> dict[str, Any]:
        """The whole ``urls.api`` table for a ccxt Binance client: nothing in it leaves this machine."""
        rest, ws = self.http_url, self.ws_url
        return {
            "public": f"{rest}/api/v3",
            "private": f"{rest}/api/v3",
            "v1": f"{rest}/api/v1",
            "v3": f"{rest}/api/v3",
            "sapi": f"{rest}/sapi/v1",
            "web": rest,
            # ccxt takes a socket for spot only when its path contains /stream
            "ws": {"spot": f"{ws}/stream/ws", "ws-api": {"spot": f"{ws}/ws-api/v3"}},
        }

    async def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/stream/ws", self.streams.serve)
        app.router.add_get("/stream/ws/{socket}", self.streams.serve)
        app.add_routes(self.rest.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=_DRAIN_S, handler_cancellation=True)
        await self._runner.setup()
        await self.up()

    async def stop(self) -> None:
        """Cut everybody off and release the port."""
        self.streams.cut()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = self._site = None

    async def down(self) -> None:
        """Refuse new connections and abort the present ones, streams and REST, until ``up``."""
        if self._site is not None:
            await self._site.stop()
            self._site = None
        self.streams.cut()
        self._abort_connections()

    async def up(self) -> None:
        """Accept connections again, on the same port."""
        if self._runner is None:
            raise RuntimeError("VenueServer.up: expected a started server; call start() first")
        self._site = web.TCPSite(self._runner, HOST, self._port, reuse_address=True)
        await self._site.start()
        if self._port == 0:
            self._port = self._runner.addresses[0][1]

    def cut(self, stream: str | None = None) -> int:
        """Abort the sockets of all clients, or of those subscribed to a stream; returns how many."""
        return self.streams.cut(stream)

    def publish_trade(self, market: VenueMarket, trade: VenueTrade, sent_ms: int | None = None) -> None:
        """Send a trade that is on the tape to those who listen; ``sent_ms`` is the event time, now if left out."""
        stream = f"{market.symbol.venue_name.lower()}@{wire.TRADE_STREAM}"
        self.streams.publish(
            stream, wire.trade_frame(market.symbol, trade, self._now_ms() if sent_ms is None else sent_ms), trade.id
        )
        self._publish_best(market)

    def publish_depth(self, market: VenueMarket, sent_ms: int | None = None) -> None:
        """Send what the book has changed since the last time; nothing when it stood still."""
        diff = market.take_diff()
        if diff is None:
            return
        frame = wire.depth_frame(market.symbol, diff, self._now_ms() if sent_ms is None else sent_ms)
        for kind in wire.DEPTH_STREAMS:
            self.streams.publish(f"{market.symbol.venue_name.lower()}@{kind}", frame)
        self._publish_best(market)

    def _publish_best(self, market: VenueMarket) -> None:
        """Send the best bid and ask when they have changed and somebody listens."""
        stream = f"{market.symbol.venue_name.lower()}@{wire.BEST_STREAM}"
        if self.streams.subscribers(stream) and (best := market.take_best()) is not None:
            self.streams.publish(stream, wire.best_frame(market.symbol, best))

    def _abort_connections(self) -> None:
        server = self._runner.server if self._runner is not None else None
        for connection in list(server.connections) if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()

    def _now_ms(self) -> int:
        return self._clock.now_ns() // NS_PER_MS
