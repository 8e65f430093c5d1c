"""The process of an engine: import, prepare, run once, then run again whenever it is asked, and say how long.

Runs in the peers' environments too, so that all are timed by the same lines: standard library and numpy only.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np

Job = Mapping[str, Any]
"""The run: ``fast``, ``slow``, ``timing`` (close or open), ``repeats``, and what one engine alone understands."""
Answer = dict[str, Any]
NS_PER_S: Final = 1_000_000_000
KIB_PER_MIB: Final = 1_024
COLUMNS: Final = ("ts_open", "ts_close", "open", "high", "low", "close", "volume")
CAPITAL: Final = 1_000_000.0
COMMISSION: Final = 0.001


@dataclass(frozen=True, slots=True)
class Bars:
    """The input as plain columns. Times are UTC epoch nanoseconds."""

    ts_open: Any
    ts_close: Any
    open: Any
    high: Any
    low: Any
    close: Any
    volume: Any

    @classmethod
    def load(cls, path: Path) -> Self:
        """The bars that ``save`` wrote."""
        with np.load(path) as columns:
            return cls(*(columns[name] for name in COLUMNS))

    def save(self, path: Path) -> None:
        """Uncompressed."""
        np.savez(path, **{name: getattr(self, name) for name in COLUMNS})

    def first(self, count: int) -> Self:
        """The first so many."""
        return type(self)(*(getattr(self, name)[:count] for name in COLUMNS))

    def __len__(self) -> int:
        return len(self.close)


class Engine(Protocol):
    """One engine with its data prepared."""

    def arrange(self, job: Job) -> Any:
        """The input made anew for a run, not timed."""

    def run(self, arranged: Any) -> Any:
        """The timed part."""

    def read(self, result: Any) -> Answer:
        """The outcome, for verification: ``trips`` and ``final``, or the ``finals`` of a sweep; not timed."""


def serve(imports: Sequence[str], package: str, make: Callable[[Bars, Job], Engine]) -> None:
    """Answer for one engine on stdin and stdout until there is no more to do.

    Args:
        imports: what is loaded to use the engine; its time is the start-up's first part.
        package: whose version is told; none for our own.
        make: the data in the engine's own form; the time it takes is told, and is in no run.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print do so elsewhere
    bars, job = Bars.load(Path(sys.argv[1])), json.loads(sys.argv[2])
    started = time.perf_counter_ns()
    for name in imports:
        importlib.import_module(name)
    imported = time.perf_counter_ns()
    engine = make(bars, job)
    prepared = time.perf_counter_ns()
    first = _timed(engine, {**job, "repeats": 1})
    ready: Answer = {
        "import_s": (imported - started) / NS_PER_S,
        "prepare_s": (prepared - imported) / NS_PER_S,
        "version": _version(package),
        **first,
        "peak_mib": _peak_mib(),
    }
    _tell(answers, ready)
    for line in sys.stdin:
        _tell(answers, {**_timed(engine, {**job, **json.loads(line)}), "peak_mib": _peak_mib()})


def _tell(answers: Any, answer: Answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _timed(engine: Engine, job: Job) -> Answer:
    """The best of so many runs in a row, by wall clock and by processor time of this process and its children.

    Garbage is collected before them, not between them: a look at everything that lives would empty the processor's
    caches, which costs a run of half a millisecond more than the run.
    """
    best_wall = best_cpu = 2**63
    answer: Answer = {}
    gc.collect()
    gc.freeze()
    for _ in range(job["repeats"]):
        arranged = engine.arrange(job)
        cpu, wall = _cpu_ns(), time.perf_counter_ns()
        result = engine.run(arranged)
        wall, cpu = time.perf_counter_ns() - wall, _cpu_ns() - cpu
        best_wall, best_cpu = min(best_wall, wall), min(best_cpu, cpu)
        answer = engine.read(result)
    gc.unfreeze()
    return {"wall_s": best_wall / NS_PER_S, "cpu_s": best_cpu / NS_PER_S, **answer}


def _cpu_ns() -> int:
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time_ns() + round((ended.ru_utime + ended.ru_stime) * NS_PER_S)


def _peak_mib() -> float:
    """The most that this process ever had resident. Unlike ``ru_maxrss`` not that of whoever started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / KIB_PER_MIB


def _version(package: str) -> str:
    try:
        return version(package) if package else ""
    except PackageNotFoundError:
        return "?"
