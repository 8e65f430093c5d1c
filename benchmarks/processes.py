"""Other processes of a benchmark: our daemons, which say when they are ready, and roles, which are asked by lines."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.result import verify
from benchmarks.workload import ROOT

ANSWER_TIMEOUT_S: Final = 60.0
READY_TIMEOUT_S: Final = 60.0
_STOP_TIMEOUT_S: Final = 10.0
_READY: Final = b"READY=1"
_USER_TICKS: Final = 11  # field of /proc/PID/stat, counted behind the name


class ProcessError(RuntimeError):
    """A process ended or fell silent; the text has what it said last."""


class Processes:
    """Everything that one benchmark started, with its stderr under ``folder``; all of it ends with the block."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._environ = {**{k: v for k, v in os.environ.items() if not k.startswith("NJORD_")}, **environ}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def daemon(self, name: str, *options: str) -> float:
        """Start one of our daemons; returns when it is ready, and how many seconds that took from exec."""
        with ReadySocket(self.folder / f"{name}.notify") as ready:
            started = time.perf_counter()
            words = ["-m", f"apps.{name}", "--port", "0", *options]
            process = self._start(name, words, subprocess.DEVNULL, NOTIFY_SOCKET=str(ready.path))
            ready.wait(process, self.folder / f"{name}.stderr")
            return time.perf_counter() - started

    def role(self, name: str, *options: str, module: str = "benchmarks.roles") -> Role:
        """Start a role of a module and wait until it says that it is ready."""
        process = self._start(name, ["-m", module, name, *options], subprocess.PIPE)
        role = Role(name, process, self.folder / f"{name}.stderr")
        role.answer()
        return role

    def cpu_us(self) -> dict[str, float]:
        """Processor microseconds that each process has taken so far, those of the same name together."""
        taken: dict[str, float] = {}
        for name, process in self._running:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[_USER_TICKS]) + int(fields[_USER_TICKS + 1])
            taken[name] = taken.get(name, 0.0) + ticks / os.sysconf("SC_CLK_TCK") * 1e6
        return taken

    def stop(self) -> None:
        """End everything in order; daemons drain."""
        for _, process in reversed(self._running):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for _, process in self._running:
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._running.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _start(self, name: str, words: Sequence[str], pipe: int, **environ: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.stderr").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *words], cwd=ROOT, env={**self._environ, **environ},
                stdin=pipe, stdout=pipe, stderr=log,
            )  # fmt: skip
        self._running.append((name, process))
        return process


class Role:
    """A process that answers each line on its stdin with one line of JSON."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self._name = name
        self._process = process
        self._log = log

    def tell(self, *words: object) -> None:
        """Give an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """The next answer. Raises ProcessError when there is none in time."""
        assert self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], ANSWER_TIMEOUT_S)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            log_tail = self._log.read_text(errors="replace")[-2_000:]
            raise ProcessError(f"{self._name} gave no answer within {ANSWER_TIMEOUT_S:g} s; it said:\n{log_tail}")
        return json.loads(line)

    def ask(self, *words: object) -> Any:
        """Give an order and wait for the answer."""
        self.tell(*words)
        return self.answer()


def turn(source: Role, sink: Role, count: int, gap_us: int, *, strict: bool = True) -> tuple[list[int], list[int]]:
    """Let a source send and a sink take so many; when each was sent and when it came, in monotonic nanoseconds.

    Raises:
        VerificationError: not all came, or not what was sent; not looked at unless ``strict``.
    """
    sent, handed_over = source.ask("go", count, gap_us)
    came, got = sink.ask("take", count)
    if strict:
        verify("messages that came through", count, len(came))
        verify("the sum over what came through", handed_over, got)
    return sent, came


class ReadySocket:
    """A socket for ``NOTIFY_SOCKET``: a daemon sends ``READY=1`` to it, as to systemd."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        self._socket.bind(str(self.path))
        self._socket.settimeout(0.25)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.close()
        self.path.unlink(missing_ok=True)

    def wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Return when the process is ready. Raises ProcessError when it ended or took too long."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if _READY in self._socket.recv(4_096):
                    return
            except TimeoutError:
                continue
        raise ProcessError(f"{log.stem} did not become ready; it said:\n{log.read_text(errors='replace')[-2_000:]}")
