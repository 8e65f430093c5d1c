"""The fleet as separate processes over a real server, for tests: started, asked, stopped by their ids."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from core.daemons import BEHIND_THE_FEED
from tests.conftest import ROOT
from tests.support.redis_server import spare_port
from tests.support.waiting import DEFAULT_LIMIT_S, patience, wait_until

DAEMONS = BEHIND_THE_FEED


class Processes:
    """Daemons that write below ``folder`` and talk over one server; ``config_root`` holds their configuration."""

    def __init__(self, redis_url: str, folder: Path, config_root: Path = ROOT, **overrides: str) -> None:
        self.folder = folder
        self.killswitch = folder / "killswitch"
        self.journals = folder / "journals"
        self.ledgers = folder / "ledgers"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._config_root = config_root
        self._ports: dict[str, int] = {}
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("NJORD_")},
            "NJORD_REDIS__URL": redis_url,
            "NJORD_APP__DATA_DIR": str(folder),
            "NJORD_APP__LOG_DIR": str(self.journals),
            "NJORD_APP__LEDGER_DIR": str(self.ledgers),
            "NJORD_LOGGING__JSON_DIR": str(folder),
            "NJORD_RISK__KILL_SWITCH_FILE": str(self.killswitch),
            **overrides,
        }

    def start(
        self, name: str, *options: str, module: Sequence[str] = (), environ: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start one daemon; its stderr goes to a file beside the journals.

        ``module`` is what Python runs instead of the daemon's own; ``environ`` is added to its environment.
        """
        self._ports[name] = spare_port()
        self.running[name] = self.spawn(name, self._ports[name], *options, module=module, environ=environ)
        return self.running[name]

    def spawn(
        self,
        name: str,
        port: int,
        *options: str,
        module: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process of a daemon that is not the one asked and stopped here: a second copy of it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        base = ["--config-root", str(self._config_root), "--port", str(port)]
        with (self.folder / f"{name}.stderr").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *(module or [f"apps.{name}"]), *base, *options],
                cwd=ROOT, env={**self._environ, **(environ or {})}, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip

    def url(self, name: str) -> str:
        """The address of a daemon's health server."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def health(self, name: str) -> dict[str, Any]:
        """The report of a daemon; empty while it does not answer."""
        try:
            with urlopen(f"{self.url(name)}/health", timeout=patience(2)) as answer:
                report: dict[str, Any] = json.load(answer)
        except HTTPError as error:  # it answers, and says that it is not ready
            with error:
                report = json.load(error)
        except OSError:
            return {}
        return report

    def start_ready(self, *names: str) -> None:
        """Start daemons and wait until each takes messages."""
        for name in names:
            self.start(name)
        for name in names:
            self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        """Wait until a daemon takes messages."""
        wait_until(lambda: self.health(name).get("ready", False), what=f"{name} is ready")

    def kill(self, name: str) -> None:
        """SIGKILL: the daemon ends as when the machine takes it away."""
        self.running[name].kill()
        self.running[name].wait()

    def stderr(self, name: str) -> str:
        """Everything that a daemon has printed so far."""
        return (self.folder / f"{name}.stderr").read_text()

    def exit_code(self, name: str, limit_s: float = DEFAULT_LIMIT_S) -> int:
        """The exit code of a daemon that ends by itself."""
        process = self.running[name]
        try:
            wait_until(lambda: process.poll() is not None, limit_s, f"the end of {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}:\n{self.stderr(name)[-3000:]}") from None
        return process.wait()

    def stop(self) -> dict[str, int]:
        """Ask every daemon to end; the exit codes."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        return {name: self.exit_code(name) for name in self.running}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()
