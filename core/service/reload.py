"""Reloads of a running daemon: by SIGHUP or on ``controller.reload``, each answered on ``controller.acks``.

A request names its service, ``{"service": "risk_engine"}``, and may carry a ``request_id``. The answer repeats both,
with ``ok``, ``error`` and ``config_hash``: the hash of what is in force now, which also names ``config.{hash}.json``
beside the journals. Requests for other services are none of ours; a request without a service reloads nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from core.bus import RedisBus
from core.errors import BusUnavailableError, NjordError

REQUESTS: Final = "controller.reload"
ACKS: Final = "controller.acks"
_SHOWN: Final = 200  # characters of a malformed request in the log
_log: Final = logging.getLogger("njord.service")


@dataclass(frozen=True, slots=True)
class ReloadAck:
    """The answer to a reload: ``config_hash`` names the configuration in force, whether it is a new one or not."""

    service: str
    ok: bool
    config_hash: str
    error: str = ""
    request_id: str = ""


@dataclass(frozen=True)
class Reloading:
    """The configuration of a running daemon.

    Attributes:
        config_hash: gives the hash of what is in force.
        apply: puts the configuration in force as it is on disk now, raises ConfigError when that is bad; None for a
            daemon that takes a restart.
    """

    config_hash: Callable[[], str]
    apply: Callable[[], None] | None = None


class Reloader:
    """Reloads one daemon and answers who asked for it.

    Attributes:
        reloaded: reloads that put a configuration in force.
        refused: those that did not.
        malformed: requests that name no service.
    """

    def __init__(self, service: str, bus: RedisBus, config: Reloading | None = None) -> None:
        self.reloaded = self.refused = self.malformed = 0
        self._service = service
        self._bus = bus
        self._config = config or Reloading(lambda: "")
        self._acks: asyncio.Queue[ReloadAck] = asyncio.Queue()

    @property
    def config_hash(self) -> str:
        """The hash of the configuration in force; empty when the daemon was given none."""
        return self._config.config_hash()

    def reload(self, request_id: str = "") -> None:
        """Put the configuration in force as it is now, or keep the old one and log why; the answer follows."""
        error = self._error()
        if error:
            self.refused += 1
        else:
            self.reloaded += 1
            _log.info("configuration reloaded, %s in force", self.config_hash)
        self._acks.put_nowait(ReloadAck(self._service, not error, self.config_hash, error, request_id))

    def _error(self) -> str:
        """The reason why nothing was reloaded; empty when it was."""
        if self._config.apply is None:
            _log.info("nothing to reload: the configuration of %s takes a restart", self._service)
            return f"nothing to reload: the configuration of {self._service} takes a restart"
        try:
            self._config.apply()
        except NjordError as error:
            _log.error("configuration not reloaded, the old one stays in force: %s", error)
            return str(error)
        return ""

    def take(self, request: Mapping[str, Any]) -> None:
        """Obey a request on the bus, if it is for this daemon."""
        service, request_id = request.get("service"), request.get("request_id", "")
        if not isinstance(service, str) or not service or not isinstance(request_id, str):
            self.malformed += 1
            _log.error(
                '%s: expected {"service": NAME} with a request_id of text or none, got %s; nothing was reloaded',
                REQUESTS,
                repr(dict(request))[:_SHOWN],
            )
        elif service == self._service:
            self.reload(request_id)

    async def follow(self) -> None:
        """Obey requests until cancelled."""
        async for request in self._bus.follow(REQUESTS):
            self.take(request)

    async def answer(self) -> None:
        """Publish the answers until cancelled. One that Redis does not take is logged; ``/health`` has the hash."""
        while True:
            ack = await self._acks.get()
            try:
                await self._bus.publish_json(ACKS, asdict(ack))
            except BusUnavailableError as error:
                _log.warning("the answer to a reload was not sent: %s", error)
