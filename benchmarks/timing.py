"""The way times are taken: the garbage of whatever ran before is put aside, the runs alternate, the median counts."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Final, NamedTuple

NS_PER_US: Final = 1_000
NS_PER_S: Final = 1_000_000_000


class Spread(NamedTuple):
    """Percentiles of latencies, in microseconds."""

    p50: float
    p99: float


def latencies_of(sent: Sequence[int], came: Sequence[int]) -> list[int]:
    """The duration of each, in nanoseconds."""
    return [b - a for a, b in zip(sent, came, strict=False)]


def spread(latencies_ns: Sequence[int]) -> Spread:
    """The 50th and 99th percentile, nearest rank. Raises ValueError without any latency."""
    if not latencies_ns:
        raise ValueError("expected at least one latency, got none")
    ordered = sorted(latencies_ns)
    return Spread(*(ordered[int((len(ordered) - 1) * share)] / NS_PER_US for share in (0.5, 0.99)))


@contextmanager
def settled() -> Iterator[None]:
    """Keep the collector's hands off everything made before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def seconds(call: Callable[[], object]) -> float:
    """The duration of one call."""
    with settled():
        started = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - started) / NS_PER_S


def alternating(rounds: int, *calls: Callable[[], object]) -> list[float]:
    """The median seconds of each call, all of them taking turns so that a busy machine is busy for all."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for times, call in zip(taken, calls, strict=True):
            times.append(seconds(call))
    return [median(times) for times in taken]
