"""The HTTP server of a daemon, on loopback: health for people and load balancers, metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from core import codec
from core.errors import ConfigError

Report = Callable[[], dict[str, Any]]
_JSON: Final = "application/json"


class HealthServer:
    """Serves ``/health``, ``/health/liveness``, ``/health/readiness`` and ``/metrics``.

    Args:
        report: the daemon's state; its keys ``alive`` and ``ready`` decide the status codes 200 or 503, for
            ``/health`` also ``trouble``, in words.
        registry: the metrics to expose.
    """

    def __init__(self, report: Report, registry: CollectorRegistry, host: str, port: int) -> None:
        self._report = report
        self._registry = registry
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. Raises ConfigError when the port is taken."""
        app = web.Application()
        app.router.add_get("/health", self._health)
        app.router.add_get("/health/liveness", self._liveness)
        app.router.add_get("/health/readiness", self._readiness)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror}. Another copy of this daemon may be "
                "running; stop it, or set services.base_port in config/base.yaml"
            ) from error

    @property
    def url(self) -> str:
        """The address the server listens on."""
        assert self._runner is not None
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        report = self._report()
        return _answer(report, ok=report["alive"] and report["ready"] and not report.get("trouble"))

    async def _liveness(self, _: web.Request) -> web.Response:
        report = self._report()
        return _answer({"alive": report["alive"]}, ok=report["alive"])

    async def _readiness(self, _: web.Request) -> web.Response:
        report = self._report()
        return _answer({key: report[key] for key in ("ready", "waiting_for") if key in report}, ok=report["ready"])

    async def _metrics(self, request: web.Request) -> web.Response:
        """OpenMetrics for who accepts it, as Prometheus does; the older text format for everybody else."""
        encode, content_type = choose_encoder(", ".join(request.headers.getall("Accept", [])))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


def _answer(body: dict[str, Any], *, ok: bool) -> web.Response:
    return web.Response(body=codec.encode_plain(body), status=200 if ok else 503, content_type=_JSON)
