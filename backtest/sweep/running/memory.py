"""The memory that a sweep may take, and the number of workers and of sets to a chunk that follow from it.

The figures of one process are measured; ``tests/backtest/sweep/test_command.py`` holds a sweep against its budget.
Pages that workers map from one file are counted once.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.errors import ConfigError

_UNITS: Final = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_WORKER: Final = 95 * 10**6  # a process with the event engine, before any bar
_TRACKER: Final = 15 * 10**6  # the process in which Python watches over shared resources, where there are workers
_COMPILING: Final = 100 * 10**6  # what it takes to compile a kernel's loop; little where that is in the cache
_PER_BAR: Final = 700  # bytes of an event, its point of the curve and its place in the columns of a run
_PER_BAR_COMPILED: Final = 320  # columns in ticks and prices, fills and equity
SAMPLES: Final = 2 * 10**6
"""Bytes of the curves that a compiled task holds at a time, unless a single one is larger."""
_PER_SAMPLE: Final = 6  # what is made of them in between, in their own size, those included
_PER_FIGURE: Final = 120  # bytes of a number on its way: as an object, pickled, in the line of the checkpoint
_PER_SET: Final = 1_000
_TABLE: Final = 3  # copies of the table while it is sorted and written
_FIGURES: Final = 50  # metrics of a set, at most
_MOST_PER_CHUNK: Final = 4_096


@dataclass(frozen=True)
class Load:
    """What a sweep has to hold.

    Attributes:
        marks: where the curves of a compiled sweep are read, at most.
        warm: whether its kernel is compiled.
    """

    sets: int
    bars: int
    compiled: bool
    blocks: int
    marks: int = 0
    warm: bool = False

    @property
    def worker(self) -> int:
        """Bytes of one worker: a process, or a thread of a compiled sweep with the curves that it is at."""
        if self.compiled:
            return _PER_SAMPLE * max(SAMPLES, 8 * (self.marks + 1))
        return _WORKER + self.bars * _PER_BAR

    @property
    def shared(self) -> int:
        """Bytes that any number of workers takes together."""
        if self.compiled:
            return self.bars * _PER_BAR_COMPILED + (0 if self.warm else _COMPILING)
        return _TRACKER

    @property
    def alone(self) -> int:
        """Bytes that running the sets in the sweep's own process adds to it."""
        return self.shared + self.worker if self.compiled else self.worker - _WORKER

    @property
    def table(self) -> int:
        """Bytes that the rows take in the sweep's own process, on top of what it has now."""
        return self.sets * (_FIGURES * 8 * _TABLE + _PER_SET)

    @property
    def outcome(self) -> int:
        """Bytes of one set on its way back."""
        return _FIGURES * _PER_FIGURE + 4 * self.blocks + _PER_SET


@dataclass(frozen=True)
class Plan:
    """How the sweep is run: ``workers`` threads or processes (0: none but the sweep's own), at most ``chunk`` sets to a
    task."""

    workers: int
    chunk: int


def bytes_of(text: str) -> int:
    """``500MB``, ``2GB``, ``512MiB`` or a number of bytes. Raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    unit = match and _UNITS.get(match[2].upper())
    if not match or unit is None:
        raise ConfigError(f"memory: expected a size such as 500MB or 2GB, got {text!r}")
    return round(float(match[1]) * unit)


def planned(load: Load, most_workers: int, budget: int | None, resident: int) -> Plan:
    """As many of the wanted workers as fit, and chunks whose results fit beside them.

    Args:
        resident: bytes of this process now.

    Raises:
        ConfigError: not even this process alone fits.
    """
    if budget is None:
        return Plan(most_workers, _MOST_PER_CHUNK)
    available = budget - resident - load.table
    workers = min(most_workers, max(0, available - load.shared) // load.worker)
    spare = available - (load.shared + workers * load.worker if workers else load.alone)
    if spare < load.outcome and not workers:
        least = budget - spare + load.outcome
        raise ConfigError(
            f"memory: expected at least {least / 1e6:,.0f}MB for {load.sets:,} sets, got {budget / 1e6:,.0f}MB"
        )
    lanes = 2 * max(1, workers)
    return Plan(workers, max(1, min(_MOST_PER_CHUNK, spare // (lanes * load.outcome))))


def resident_bytes() -> int:
    """What this process has in memory; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
