"""The workers of a sweep: processes or threads of its own, the executor of its caller, or this very process.

Own processes end when the sweep does, however it ends: each watches a pipe that nobody else holds open.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from backtest.sweep.job import JobFile
from backtest.sweep.running.evaluation import SetEvaluator

T = TypeVar("T")


class Here(Executor):
    """Runs every task at once, in the caller's thread."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run it; a failure stays in the future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 — whatever it is, the future carries it to whoever asks
            future.set_exception(error)
        return future


@contextmanager
def threads(count: int) -> Iterator[Executor]:
    """That many threads, for work that lets go of the interpreter's lock; 0 for none: the sets run here.

    Left by an exception, they end with the task that they are at.
    """
    if count == 0:
        yield Here()
        return
    pool = ThreadPoolExecutor(count, "sweep")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def processes(count: int) -> Iterator[Executor]:
    """That many worker processes; 0 for none: the sets run here.

    Left by an exception, they are gone at once; a worker in the middle of a set does not finish it.
    """
    if count == 0:
        yield Here()
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy threads' locks
    watched, keeper = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=_watch, initargs=(watched,))
    try:
        with _deaf_to_interrupts():
            started = [pool.submit(os.getpid) for _ in range(count)]
        yield pool
        for future in started:
            future.cancel()
        pool.shutdown()
        keeper.close()
    except BaseException:
        keeper.close()
        pool.shutdown(wait=True, cancel_futures=True)
        raise


def workers_of(executor: Executor, default: int) -> int:
    """The number of tasks that an executor runs at once; ``default`` where it does not tell."""
    client = getattr(executor, "_client", None)
    if client is not None:
        return max(1, sum(map(int, client.nthreads().values())))
    workers: int = getattr(executor, "_max_workers", default)
    return workers


def placed(executor: Executor, evaluator: SetEvaluator, write: Callable[[], JobFile]) -> Any:
    """The evaluator where the executor's workers find it: itself for threads, sent once to each of Dask's, else as
    the file of its job, to be mapped."""
    client = getattr(executor, "_client", None)  # that of distributed's executor
    if client is not None:
        return client.scatter(evaluator, broadcast=True, hash=False)
    return evaluator if isinstance(executor, Here | ThreadPoolExecutor) else write()


def _watch(watched: Connection) -> None:
    """In a worker: leave Ctrl-C to the sweep, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end() -> None:
        watched.poll(None)  # true only at the end: nothing is ever sent
        os._exit(1)

    threading.Thread(target=end, daemon=True, name="sweep-watch").start()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started within ignore Ctrl-C from their first instruction on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
