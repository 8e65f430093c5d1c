"""An engine's process from outside: started on prepared bars, asked for runs by lines, watched for its memory."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.processes import ProcessError
from benchmarks.workload import ROOT

ANSWER_TIMEOUT_S: Final = 1_800.0
_LOOK_S: Final = 0.25  # between two looks at the memory of a process with children
_STOP_TIMEOUT_S: Final = 10.0
_KIB_PER_MIB: Final = 1_024


class EngineProcess:
    """One engine. ``ready`` is its first answer: what start-up took, and what the first run gave.

    Args:
        watch: also look at the memory of its children while it runs; that takes processor time from others.

    Raises:
        ProcessError: it ended or fell silent before that.
    """

    def __init__(
        self,
        python: Path | str,
        module: str,
        bars: Path,
        job: Mapping[str, Any],
        folder: Path,
        *,
        watch: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.name = module.rpartition(".")[2]
        self.peak_mib = 0.0
        self._watch = watch
        self._log = folder / f"{self.name}-{time.monotonic_ns()}.stderr"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(python), "-m", module, str(bars), json.dumps(dict(job))], cwd=ROOT,
                env={**os.environ, "PYTHONWARNINGS": "ignore", **(environ or {})},
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        try:
            self.ready = self._answer()
        except BaseException:
            self.close()
            raise

    def ask(self, **job: Any) -> dict[str, Any]:
        """Run again with these changes; the best of ``repeats``. Raises ProcessError."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        pipe = self._process.stdout
        assert pipe is not None
        until = time.monotonic() + ANSWER_TIMEOUT_S
        line = b""
        while time.monotonic() < until:
            if select.select([pipe], [], [], _LOOK_S)[0]:
                line = pipe.readline()
                break
            if self._watch:
                self.peak_mib = max(self.peak_mib, _tree_mib(self._process.pid))
        if not line:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_TIMEOUT_S)
            log_tail = self._log.read_text(errors="replace")[-2_000:]
            raise ProcessError(
                f"{self.name} gave no answer, exit status {self._process.returncode}; it said:\n{log_tail}"
            )
        answer: dict[str, Any] = json.loads(line)
        self.peak_mib = max(self.peak_mib, answer["peak_mib"])
        return answer


def _tree_mib(pid: int) -> float:
    """The memory of a process and its children now, shared pages counted once; 0 without children,
    for such a process tells its own peak."""
    parents = _parents()
    tree = [pid]
    for parent_pid in tree:  # grows on the way
        tree += [child for child, parent in parents.items() if parent == parent_pid]
    return sum(map(_proportional_kib, tree)) / _KIB_PER_MIB if len(tree) > 1 else 0.0


def _parents() -> dict[int, int]:
    """Of every process that there is."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    return parents


def _proportional_kib(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
