"""The job of a sweep: all that its workers share. It travels once, as a file that is mapped, not with every task.

``backtest.sweep.running.evaluation`` runs parameter sets of a job.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backtest.contracts import BacktestConfig
from backtest.data.price_grid import derived_instrument
from backtest.data.series import BarSeries
from backtest.data.trade_tape import TradeTape
from backtest.engine.slots import Entrant
from backtest.metrics.returns import Ints
from backtest.sweep.space.parameter_space import ParamSet
from core.errors import ConfigError
from core.instruments import Instrument, Instruments
from risk.limits import RiskLimits


class Numbered(NamedTuple):
    """A set and its number in the order of the search."""

    number: int
    values: ParamSet


class Outcome(NamedTuple):
    """What came of a set: its metrics or the error, and its returns per block where they are kept (float32)."""

    number: int
    values: ParamSet
    metrics: Mapping[str, float]
    error: str = ""
    returns: bytes = b""


@dataclass(frozen=True, eq=False)
class SweepJob:
    """One sweep, without its sets.

    Attributes:
        entrant: the strategy with the parameters that all sets share.
        data: cut to the run and in all its timeframes, so that no run does it again.
        compiled: whether the sets run in the compiled engine.
        period_ends: at which times the curve is read for ``RETURN_COLUMNS``, UTC epoch ns.
        block_ends: and for the kept returns; None keeps none.
        names: of the values of a set.
    """

    config: BacktestConfig
    entrant: Entrant
    data: tuple[BarSeries | TradeTape, ...]
    instruments: Instruments
    limits: RiskLimits
    compiled: bool
    names: tuple[str, ...]
    period_ends: Ints
    block_ends: Ints | None

    @cached_property
    def series(self) -> BarSeries:
        """What a compiled run goes over."""
        source = self.data[0]
        if len(self.data) != 1 or not isinstance(source, BarSeries):
            raise ConfigError(f"compiled sweep: expected one series of bars, got {len(self.data)} of data")
        return source

    @cached_property
    def instrument(self) -> Instrument:
        """What a compiled run trades."""
        symbol = self.config.symbol
        return self.instruments[symbol] if symbol in self.instruments else derived_instrument([self.series])


@dataclass(frozen=True)
class JobFile:
    """A job laid down on this machine's disk: ``path`` holds its columns, which workers map and share."""

    path: Path
    fingerprint: str

    @classmethod
    def write(cls, job: SweepJob, path: Path, fingerprint: str) -> JobFile:
        """Lay it down. Raises ConfigError for a strategy that cannot be found by its name in another process."""
        head, buffers = pickled(job)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            sizes = [len(buffer) for buffer in buffers]
            pickle.dump((head, sizes), file)
            file.write(b"\0" * (-file.tell() % 64))
            for buffer in buffers:
                file.write(buffer)
        os.replace(part, path)
        return cls(path, fingerprint)

    def read(self) -> SweepJob:
        """The job, its columns mapped."""
        with self.path.open("rb") as file:
            head, sizes = pickle.load(file)
            start = file.tell() + -file.tell() % 64
        mapped = np.memmap(self.path, np.uint8, "r")
        buffers = []
        for size in sizes:
            buffers.append(mapped[start : start + size])
            start += size
        job: SweepJob = pickle.loads(head, buffers=buffers)
        return job


def pickled(job: SweepJob) -> tuple[bytes, list[memoryview]]:
    """The job and its columns apart. Raises ConfigError for what cannot be pickled, named."""
    columns: list[pickle.PickleBuffer] = []
    try:
        head = pickle.dumps(job, protocol=5, buffer_callback=columns.append)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"strategy {job.entrant.strategy_id!r}: expected a class at the top of a module, which other processes can "
            f"import, got {job.entrant.make!r}: {error}"
        ) from None
    return head, [column.raw() for column in columns]
