"""The line to systemd: readiness, status, watchdog and end of the process, where systemd started it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

START_TIMEOUT_S: Final = 30  # from a sign of life to the next, while it is not ready
_US_PER_S: Final = 1_000_000


class Notifier:
    """The state of one process as ``sd_notify`` reports it. It outlives the services that run in the process.

    Args:
        send: takes a state in systemd's form; None where nobody listens.
        watchdog_s: how long systemd waits for a sign of life, in seconds; None without a watchdog.
    """

    def __init__(self, send: Callable[[str], None] | None = None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        self._send = send or (lambda _: None)
        self._status = ""
        self._ready = False
        self._stopping = False

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Notifier:
        """The notifier of this process, by ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` as systemd sets them."""
        if not environ.get("NOTIFY_SOCKET"):
            return cls()
        import sdnotify

        limit = environ.get("WATCHDOG_USEC", "")
        return cls(sdnotify.SystemdNotifier().notify, int(limit) / _US_PER_S if limit.isdecimal() else None)

    def ready(self) -> None:
        """The process has recovered and answers for itself; reported once."""
        if not self._ready:
            self._ready = True
            self._send("READY=1")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``, when it is another one than before."""
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def alive(self) -> None:
        """A sign of life for the watchdog; before it is ready, also a request for more time to start."""
        self._send("WATCHDOG=1" if self._ready else f"WATCHDOG=1\nEXTEND_TIMEOUT_USEC={START_TIMEOUT_S * _US_PER_S}")

    def stopping(self) -> None:
        """The process ends: not a service that starts again inside it. Reported once."""
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1")
