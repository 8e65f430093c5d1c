"""A sweep under way: asks the search, hands chunks to the workers, keeps what comes back, tells how far it is.

Results depend on the sets alone: not on the executor, the size of chunks or the order in which they come back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from dataclasses import dataclass
from itertools import islice
from math import ceil
from typing import Any, Final

from backtest.errors import RunInterruptedError
from backtest.sweep.job import Numbered, Outcome
from backtest.sweep.results.results import Results
from backtest.sweep.running.checkpoint import Checkpoint
from backtest.sweep.running.evaluation import run_sets
from backtest.sweep.running.main_guard import unguarded_script
from backtest.sweep.space.search import Search
from core.errors import FatalError

_CHUNK_S: Final = 1.0  # how long a chunk should take: little is lost when killed, little is spent on handing over
_LEAST_S: Final = 0.1  # near the end chunks get smaller, so that all workers end together, but not below this
_FIRST_CHUNK: Final = 4  # sets of the first chunks, while nobody knows how long one takes
_QUEUED: Final = 1  # chunks that wait for a worker, so that none is idle
_LOOK_S: Final = 0.25  # how often it looks up while nothing comes back


class SweepInterruptedError(RunInterruptedError):
    """The sweep was ended before it was through. ``done`` of ``total`` sets are in the checkpoint."""

    def __init__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        super().__init__(f"interrupted after {done:,} of {total:,} sets; the same command goes on from there")


class SweepWorkerError(FatalError):
    """A worker process died, for want of memory or because it could not start."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is. ``left_s`` is None while nobody can know; ``best`` is the best objective so far."""

    done: int
    total: int
    failed: int
    best: float | None
    left_s: float | None


class SweepRun:
    """One sweep from the first set to the last.

    Args:
        workers: how many tasks the executor runs at once.
        most: sets to a chunk at most.
        keep: told of every chunk that was run, before the checkpoint has it; perhaps again after a crash.
        watch: told how far it is, at least after every chunk.
        stop: ends the sweep as Ctrl-C does, from another thread.
    """

    def __init__(
        self,
        search: Search,
        results: Results,
        checkpoint: Checkpoint,
        objective: tuple[str, bool],
        *,
        workers: int,
        most: int,
        keep: Callable[[Iterable[Outcome]], None],
        watch: Callable[[Progress], None],
        stop: threading.Event,
    ) -> None:
        self._search = search
        self._results = results
        self._checkpoint = checkpoint
        self._objective, self._maximize = objective
        self._workers, self._most = workers, most
        self._keep, self._watch, self._stop = keep, watch, stop
        self._best: float | None = None
        self._ran = 0
        self._per_s = 0.0
        self._started = time.monotonic()

    def run(self, executor: Executor, source: Any) -> None:
        """To the end.

        Raises:
            SweepInterruptedError: Ctrl-C, or ``stop`` was set.
            SweepWorkerError: a worker died.
        """
        try:
            while sets := self._search.ask():
                numbers = [self._results.number(values) for values in sets]
                for number in numbers:
                    if self._results.knows(number):
                        self._judge(number)
                self._tell()
                todo = [n for n in numbers if not self._results.knows(n)]
                self._evaluate(executor, source, (Numbered(n, self._results.sets[n]) for n in todo), len(todo))
                values = (self._results.value(number, self._objective) for number in numbers)
                self._search.tell(dict(zip(sets, values, strict=True)))
        except KeyboardInterrupt:
            raise SweepInterruptedError(len(self._results), self._search.total) from None
        except BrokenExecutor as error:
            raise SweepWorkerError(self._worker_died(error)) from error

    def _worker_died(self, error: BrokenExecutor) -> str:
        script = unguarded_script()
        if script is not None:
            return (
                f"a worker could not start: it imports {script}, which starts the sweep again; put the sweep under a "
                'main guard: add the line `if __name__ == "__main__":` and, indented below it, the lines that run the '
                "sweep, such as `    sweep.run_here()`"
            )
        return (
            f"a worker died, perhaps for want of memory: {error}; {len(self._results):,} sets are in the "
            "checkpoint, the same command goes on from there; give fewer --workers or less --memory"
        )

    def _evaluate(self, executor: Executor, source: Any, todo: Iterator[Numbered], remaining: int) -> None:
        pending: dict[Future[list[Outcome]], float] = {}
        while True:
            while len(pending) < self._workers + _QUEUED and (chunk := list(islice(todo, self._size(remaining)))):
                remaining -= len(chunk)
                pending[executor.submit(run_sets, source, chunk)] = time.monotonic()
            if not pending:
                return
            done, _ = wait(pending, timeout=_LOOK_S, return_when=FIRST_COMPLETED)
            if self._stop.is_set():
                raise KeyboardInterrupt
            for future in done:
                began = pending.pop(future)
                try:
                    self._take(future.result(), time.monotonic() - began)
                except CancelledError:
                    raise KeyboardInterrupt from None
            self._tell()

    def _take(self, outcomes: list[Outcome], took_s: float) -> None:
        self._keep(outcomes)  # first: killed in between, the chunk is run again, and what is kept twice is one
        self._checkpoint.append(outcomes)
        for outcome in outcomes:
            self._results.put(outcome)
            self._judge(outcome.number)
        self._ran += len(outcomes)
        self._per_s = len(outcomes) / max(took_s, 1e-6)  # the latest chunk's: the first ones may compile

    def _size(self, remaining: int) -> int:
        """Sets of the next chunk: about ``_CHUNK_S`` of work, and all workers busy to the end."""
        second = round(_CHUNK_S * self._per_s) if self._ran else _FIRST_CHUNK
        fair = max(ceil(remaining / (2 * self._workers)), round(_LEAST_S * self._per_s))
        return max(1, min(second, self._most, fair))

    def _judge(self, number: int) -> None:
        value = self._results.value(number, self._objective)
        if value is not None and (self._best is None or (value > self._best) == self._maximize):
            self._best = value

    def _tell(self) -> None:
        done, total = len(self._results), self._search.total
        left_s = (time.monotonic() - self._started) / self._ran * max(0, total - done) if self._ran else None
        self._watch(Progress(done, total, len(self._results.errors), self._best, left_s))
