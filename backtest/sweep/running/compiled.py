"""A chunk of a compiled sweep: all its sets in one call, what is kept of their curves worked out for all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from backtest.compiled.engine import KernelRuns, run_kernels
from backtest.compiled.market import KernelMarket
from backtest.contracts import BacktestConfig
from backtest.metrics.returns import UNBOUNDED, Floats, Ints, changes
from backtest.sweep.job import SweepJob
from backtest.sweep.results.returns import RETURN_COLUMNS, figures_of_rows
from backtest.sweep.running.memory import SAMPLES

_PROFIT, _LOSS, _FACTOR = "gross_profit", "gross_loss", "profit_factor"


@dataclass(frozen=True, eq=False)
class Chunk:
    """What came of some sets.

    Attributes:
        columns: of ``metrics``.
        metrics: of shape (sets, columns); meaningless where a set failed.
        returns: of shape (sets, blocks), float32; None where they are not kept.
        errors: by the place of the set.
    """

    columns: tuple[str, ...]
    metrics: Floats
    returns: np.ndarray[Any, np.dtype[np.float32]] | None
    errors: dict[int, Exception]


@dataclass(frozen=True, eq=False)
class CompiledSweep:
    """What all chunks share.

    Attributes:
        config: of a run over the job's bars, which are cut to its time already.
        market: its marks are where any curve is read.
        periods, blocks: the columns of samples that ``RETURN_COLUMNS`` and the kept returns are taken from.
    """

    job: SweepJob
    config: BacktestConfig
    market: KernelMarket
    periods: Ints
    blocks: Ints | None

    @classmethod
    def of(cls, job: SweepJob) -> CompiledSweep:
        """Raises ConfigError for prices off the instrument's grid."""
        unmarked = KernelMarket.of(job.series, job.instrument)
        periods = _bars_at(job.series.ts_close, job.period_ends)
        blocks = None if job.block_ends is None else _bars_at(job.series.ts_close, job.block_ends)
        market = marked(unmarked, periods if blocks is None else np.concatenate([periods, blocks]))
        config = replace(job.config, start_ts=0, end_ts=0)
        return cls(job, config, market, _column(market, periods), None if blocks is None else _column(market, blocks))

    def chunk(self, sets: Sequence[dict[str, Any]]) -> Chunk:
        """Run them, as many at a time as ``SAMPLES`` bytes hold the curves of."""
        at_once = max(1, SAMPLES // (8 * (len(self.market.marks) + 1)))
        parts = [self._part(sets[first : first + at_once]) for first in range(0, len(sets), at_once)]
        if len(parts) == 1:
            return parts[0]
        columns = next((part.columns for part in parts if part.columns), ())
        metrics = [part.metrics if part.columns else np.zeros((len(part.metrics), len(columns))) for part in parts]
        kept = [part.returns for part in parts if part.returns is not None]
        errors = {n * at_once + at: error for n, part in enumerate(parts) for at, error in part.errors.items()}
        return Chunk(columns, np.concatenate(metrics), np.concatenate(kept) if kept else None, errors)

    def warm(self) -> bool:
        """Compile or load what the sets run: memory taken from now on is theirs. False when it failed."""
        job = self.job
        try:
            two = KernelMarket.of(job.series.rows(0, 2), job.instrument)
            runs = run_kernels(job.entrant.make, [job.entrant.params], two, self.config, job.instrument)  # type: ignore[arg-type]  # as below
        except Exception:  # noqa: BLE001 — foreign code: what is wrong with it, each set will tell in its row
            return False
        return not runs.errors

    def _part(self, sets: Sequence[dict[str, Any]]) -> Chunk:
        job = self.job
        runs = run_kernels(job.entrant.make, sets, self.market, self.config, job.instrument, samples=True)  # type: ignore[arg-type]  # a kernel's class, see job_of
        kept = None if self.blocks is None else self._returns(runs, self.blocks).astype(np.float32)
        if not runs.columns:
            return Chunk((), np.zeros((len(sets), 0)), kept, dict(runs.errors))
        figures = figures_of_rows(self._returns(runs, self.periods))
        metrics: Floats = np.column_stack([*runs.columns.values(), profit_factors(runs), figures])
        return Chunk((*runs.columns, _FACTOR, *RETURN_COLUMNS), metrics, kept, dict(runs.errors))

    def _returns(self, runs: KernelRuns, at: Ints) -> Floats:
        """From the capital at the start to the last of these columns."""
        start = self.job.config.initial_capital
        values = np.empty((len(runs.samples), len(at) + 1))
        values[:, 0] = start
        values[:, 1:] = runs.samples[:, at]
        values[:, 1:][:, at == 0] = start
        return changes(values)


def marked(market: KernelMarket, bars: Ints) -> KernelMarket:
    """The market with marks at these bars too (``-1`` is none); what is measured stays the same."""
    marks = np.union1d(market.marks, bars[bars >= 0])
    if len(marks) == len(market.marks):
        return market
    places = np.append(0, np.searchsorted(marks, market.marks) + 1)  # of the samples that there were
    take, take_first = places[market.sampling.take], places[market.sampling.take_first]
    return replace(market, sampling=market.sampling._replace(marks=marks, take=take, take_first=take_first))


def profit_factors(runs: KernelRuns) -> Floats:
    """``backtest.metrics.returns.ratio`` of gross profit and loss."""
    profit, loss = (np.asarray(runs.columns[name], np.float64) for name in (_PROFIT, _LOSS))
    bounded = np.minimum(profit / np.where(loss > 0, loss, 1.0), UNBOUNDED)
    return np.where(loss > 0, bounded, np.where(profit > 0, UNBOUNDED, 0.0))


def _bars_at(ts_close: Ints, ends: Ints) -> Ints:
    """The last bar at each of these times; -1 before the first."""
    return np.searchsorted(ts_close, ends, side="right") - 1


def _column(market: KernelMarket, bars: Ints) -> Ints:
    """Of samples: that of each bar; 0, the start, for -1."""
    return np.where(bars < 0, 0, np.searchsorted(market.marks, bars) + 1)
