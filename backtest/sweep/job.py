"""What a worker needs to run sets of parameters, and how it travels: once, as a file that is mapped, not per task.

``run_sets`` is the task. It takes the job itself (threads, Dask after scattering) or the ``JobFile`` that leads to it.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from backtest.contracts import BacktestConfig
from backtest.data.price_grid import derived_instrument
from backtest.data.series import BarSeries
from backtest.data.trade_tape import TradeTape
from backtest.engine import BacktestEngine
from backtest.engine.seats import Entrant
from backtest.metrics import columns_of
from backtest.metrics.returns import Floats, Ints, changes
from backtest.sweep.returns import RETURN_COLUMNS, figures_of_rows
from backtest.sweep.space import ParamSet
from core.errors import ConfigError
from core.instruments import Instrument, Instruments
from risk.limits import RiskLimits

if TYPE_CHECKING:
    from backtest.sweep.compiled import CompiledSweep

_LONGEST_ERROR: Final = 500  # characters that a row keeps


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
        found = self.data[0]
        if len(self.data) != 1 or not isinstance(found, BarSeries):
            raise ConfigError(f"compiled sweep: expected one series of bars, got {len(self.data)} of data")
        return found

    @cached_property
    def kernel(self) -> CompiledSweep:
        """What compiled runs share, made ready once."""
        from backtest.sweep.compiled import CompiledSweep

        return CompiledSweep.of(self)

    @cached_property
    def instrument(self) -> Instrument:
        """What a compiled run trades."""
        symbol = self.config.symbol
        return self.instruments[symbol] if symbol in self.instruments else derived_instrument([self.series])

    def evaluate(self, sets: Sequence[Numbered]) -> list[Outcome]:
        """Run them; whatever one raises becomes its row."""
        return self._compiled(sets) if self.compiled else [self._by_events(each) for each in sets]

    def _params(self, values: ParamSet) -> dict[str, Any]:
        return {**self.entrant.params, **dict(zip(self.names, values, strict=True))}

    def _by_events(self, numbered: Numbered) -> Outcome:
        params = self._params(numbered.values)
        config, entrant = replace(self.config, params=params), replace(self.entrant, params=params)
        try:
            result = BacktestEngine(config, [entrant], self.data, self.instruments, self.limits).run()
        except Exception as error:  # noqa: BLE001 — foreign code: one set that fails must not end the others
            return Outcome(*numbered, {}, _said(error))
        ts_ns, equity = columns_of(result.equity_curve)
        figures = figures_of_rows(self._returns(ts_ns, equity, self.period_ends)[None, :])[0]
        metrics = {
            **result.metrics,
            "final_equity": result.final_capital,
            "fills": float(len(result.fills)),
            "denied": float(result.denied),
            **dict(zip(RETURN_COLUMNS, figures.tolist(), strict=True)),
        }
        if self.block_ends is None:
            return Outcome(*numbered, metrics)
        kept = self._returns(ts_ns, equity, self.block_ends).astype(np.float32).tobytes()
        return Outcome(*numbered, metrics, returns=kept)

    def _compiled(self, sets: Sequence[Numbered]) -> list[Outcome]:
        try:
            chunk = self.kernel.chunk([self._params(each.values) for each in sets])
        except Exception as error:  # noqa: BLE001 — foreign code: a kernel that cannot be compiled fails in every row
            return [Outcome(*each, {}, _said(error)) for each in sets]
        found = []
        for at, (each, row) in enumerate(zip(sets, chunk.metrics.tolist(), strict=True)):
            if at in chunk.errors:
                found.append(Outcome(*each, {}, _said(chunk.errors[at])))
                continue
            kept = b"" if chunk.returns is None else chunk.returns[at].tobytes()
            found.append(Outcome(*each, dict(zip(chunk.columns, row, strict=True)), returns=kept))
        return found

    def _returns(self, ts_ns: Ints, equity: Floats, ends: Ints) -> Floats:
        """From the capital at the start to the last end."""
        start, at = self.config.initial_capital, np.searchsorted(ts_ns, ends, side="right") - 1
        return changes(np.insert(np.where(at < 0, start, equity[at]), 0, start))


def _said(error: Exception) -> str:
    """An error as its row has it."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text[:_LONGEST_ERROR]


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
        whole = np.memmap(self.path, np.uint8, "r")
        buffers = []
        for size in sizes:
            buffers.append(whole[start : start + size])
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


def run_sets(source: JobFile | SweepJob, sets: Sequence[Numbered]) -> list[Outcome]:
    """The task of a worker."""
    job = source if isinstance(source, SweepJob) else _read(source)
    return job.evaluate(sets)


@lru_cache(maxsize=1)
def _read(source: JobFile) -> SweepJob:
    return source.read()
