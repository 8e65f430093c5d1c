"""The fleet as separate processes over a real server, for tests: started, asked, stopped by their ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.conftest import ROOT

DAEMONS = ("ohlcv_aggregator", "strategy_runner", "risk_engine", "paper_trader")


class Processes:
    """Daemons that write below ``folder`` and talk over one server."""

    def __init__(self, redis_url: str, folder: Path, **overrides: str) -> None:
        self.folder = folder
        self.journals = folder / "journals"
        self.ledgers = folder / "ledgers"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("NJORD_")},
            "NJORD_REDIS__URL": redis_url,
            "NJORD_APP__DATA_DIR": str(folder),
            "NJORD_APP__LOG_DIR": str(self.journals),
            "NJORD_APP__LEDGER_DIR": str(self.ledgers),
            "NJORD_LOGGING__JSON_DIR": str(folder),
            "NJORD_RISK__KILL_SWITCH_FILE": str(folder / "killswitch"),
            **overrides,
        }

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start one daemon; its stderr goes to a file beside the journals."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.stderr").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"apps.{name}", "--config-root", str(ROOT), "--port", "0", *options],
                cwd=ROOT, env=self._environ, stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self.running[name] = process
        return process

    def stderr(self, name: str) -> str:
        """What a daemon said."""
        return (self.folder / f"{name}.stderr").read_text()

    def wait(self, name: str, timeout_s: float = 60.0) -> int:
        """The exit code of a daemon that ends by itself."""
        try:
            return self.running[name].wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{name} did not end in {timeout_s} s:\n{self.stderr(name)[-3000:]}") from None

    def stop(self) -> dict[str, int]:
        """Ask every daemon to end; the exit codes."""
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        return {name: self.wait(name, 20) for name in self.running}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_until(holds: object, timeout_s: float = 20.0) -> None:
    """Wait for a condition of the outside world: processes have no clock that a test could drive."""
    assert callable(holds)
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
