"""A copy of the checkout in which commands are typed as a user types them: ``var/`` and everything else is the copy's.

The copy borrows the checkout's ``.venv`` as it is; ``make`` is told not to look whether it is up to date.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil  # type: ignore[import-untyped]  # ships no types

from tests.conftest import ROOT
from tests.support.environment import clean_environment
from tests.support.waiting import patience, wait_until

LIMIT_S: Final = 60.0
_LEFT_OUT: Final = ("var", ".*", "*.egg-info", "build", "dist")
_NO_SET_UP: Final = ("-o", "install", "-o", "runtime")


class TypedCommands:
    """The copied checkout with its own kill switch, and a Redis where a test gives one.

    Args:
        folder: where the copy goes; must not exist.
        redis_url: an address that nobody listens at, unless the test has a server.
    """

    def __init__(self, folder: Path, redis_url: str = "redis://127.0.0.1:1/0") -> None:
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        (folder / ".venv").symlink_to(ROOT / ".venv")
        self.folder = folder
        self.recordings = folder.parent / "recordings"  # where tests keep what others need too
        self.kill_switch = folder / "var" / "killswitch"
        self.environ = {
            **clean_environment(),
            "NJORD_RISK__KILL_SWITCH_FILE": str(self.kill_switch),
            "NJORD_REDIS__URL": redis_url,
        }

    def run(self, command: str, *more: str, status: int = 0) -> str:
        """Type a command, expect its exit status, return what it printed."""
        done = subprocess.run(
            _words(command, more), cwd=self.folder, env=self.environ, stdin=subprocess.DEVNULL,
            timeout=patience(LIMIT_S), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout
        return done.stdout

    def start(self, command: str, *more: str) -> Running:
        """Type a command that goes on until it is stopped; use as a context manager."""
        return Running(self, _words(command, more))


class Running:
    """A command that is running, ``make`` around it or not. What is left of it at the end of the block is killed."""

    def __init__(self, commands: TypedCommands, words: list[str]) -> None:
        self._output = commands.folder / f"output-{len(list(commands.folder.glob('output-*')))}"
        with self._output.open("wb") as log:
            self._process = subprocess.Popen(
                words, cwd=commands.folder, env=commands.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def output(self) -> str:
        """What it has printed so far, on both streams."""
        return self._output.read_text()

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def until_ready(self, port: int) -> None:
        """Wait until its health server says that it is ready."""

        def ready() -> bool:
            assert self._process.poll() is None, self.output
            url = f"http://127.0.0.1:{port}/health/readiness"
            with suppress(OSError), urllib.request.urlopen(url, timeout=patience(5)) as answer:
                return bool(answer.status == 200)
            return False

        wait_until(ready, LIMIT_S)

    def until(self, file: Path, pattern: str) -> None:
        """Wait until there is a file that is not empty."""

        def written() -> bool:
            assert self._process.poll() is None, self.output
            return any(path.stat().st_size for path in file.glob(pattern))

        wait_until(written, LIMIT_S)

    def until_said(self, text: str) -> None:
        """Wait until it has printed something."""

        def printed() -> bool:
            assert self._process.poll() is None or text in self.output, self.output
            return text in self.output

        wait_until(printed, LIMIT_S)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Signal the command itself, not the ``make`` around it; the exit status of the whole."""
        self._innermost().send_signal(how)
        return self.wait()

    def wait(self) -> int:
        """The exit status of a command that ends by itself."""
        return self._process.wait(patience(LIMIT_S))

    def _innermost(self) -> psutil.Process:
        process = psutil.Process(self._process.pid)
        while children := process.children():
            (process,) = children
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._process.poll() is None:
            for process in [*psutil.Process(self._process.pid).children(recursive=True), self._process]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()


def _words(command: str, more: tuple[str, ...]) -> list[str]:
    program, *words = shlex.split(command)
    return [program, *(_NO_SET_UP if program == "make" else ()), *words, *more]
