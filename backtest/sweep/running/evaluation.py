"""The runs of a sweep's parameter sets: in the event engine one after the other, in the compiled engine many at once.

``run_sets`` is the task of a worker. It takes a ``SetEvaluator`` (threads, Dask after scattering) or the ``JobFile``
that leads to its job.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backtest.engine import BacktestEngine
from backtest.metrics import columns_of
from backtest.metrics.returns import Floats, Ints, changes
from backtest.sweep.job import JobFile, Numbered, Outcome, SweepJob
from backtest.sweep.results.returns import RETURN_COLUMNS, figures_of_rows
from backtest.sweep.space.parameter_space import ParamSet

if TYPE_CHECKING:
    from backtest.sweep.running.compiled import CompiledSweep  # brings numba, which runs by events do without

_LONGEST_ERROR: Final = 500  # characters that a row keeps


@dataclass(frozen=True, eq=False)
class SetEvaluator:
    """A job with what its runs share."""

    job: SweepJob

    @cached_property
    def compiled(self) -> CompiledSweep:
        """The compiled sweep of the job, prepared once."""
        from backtest.sweep.running.compiled import CompiledSweep

        return CompiledSweep.of(self.job)

    def __getstate__(self) -> dict[str, Any]:
        """The job alone: the worker prepares the rest."""
        return {"job": self.job}

    def evaluate(self, sets: Sequence[Numbered]) -> list[Outcome]:
        """The outcomes of some sets. Whatever a set raises becomes its row."""
        return self._compiled(sets) if self.job.compiled else [self._by_events(numbered) for numbered in sets]

    def _params(self, values: ParamSet) -> dict[str, Any]:
        return {**self.job.entrant.params, **dict(zip(self.job.names, values, strict=True))}

    def _by_events(self, numbered: Numbered) -> Outcome:
        params = self._params(numbered.values)
        config, entrant = replace(self.job.config, params=params), replace(self.job.entrant, params=params)
        try:
            result = BacktestEngine(config, [entrant], self.job.data, self.job.instruments, self.job.limits).run()
        except Exception as error:  # noqa: BLE001 — foreign code: one set that fails must not end the others
            return Outcome(*numbered, {}, _error_text(error))
        ts_ns, equity = columns_of(result.equity_curve)
        figures = figures_of_rows(self._returns(ts_ns, equity, self.job.period_ends)[None, :])[0]
        metrics = {
            **result.metrics,
            "final_equity": result.final_capital,
            "fills": float(len(result.fills)),
            "denied": float(result.denied),
            **dict(zip(RETURN_COLUMNS, figures.tolist(), strict=True)),
        }
        if self.job.block_ends is None:
            return Outcome(*numbered, metrics)
        kept = self._returns(ts_ns, equity, self.job.block_ends).astype(np.float32).tobytes()
        return Outcome(*numbered, metrics, returns=kept)

    def _compiled(self, sets: Sequence[Numbered]) -> list[Outcome]:
        try:
            chunk = self.compiled.chunk([self._params(numbered.values) for numbered in sets])
        except Exception as error:  # noqa: BLE001 — foreign code: a kernel that cannot be compiled fails in every row
            return [Outcome(*numbered, {}, _error_text(error)) for numbered in sets]
        outcomes = []
        for at, (numbered, row) in enumerate(zip(sets, chunk.metrics.tolist(), strict=True)):
            if at in chunk.errors:
                outcomes.append(Outcome(*numbered, {}, _error_text(chunk.errors[at])))
                continue
            kept = b"" if chunk.returns is None else chunk.returns[at].tobytes()
            outcomes.append(Outcome(*numbered, dict(zip(chunk.columns, row, strict=True)), returns=kept))
        return outcomes

    def _returns(self, ts_ns: Ints, equity: Floats, ends: Ints) -> Floats:
        """From the capital at the start to the last end."""
        start, at = self.job.config.initial_capital, np.searchsorted(ts_ns, ends, side="right") - 1
        return changes(np.insert(np.where(at < 0, start, equity[at]), 0, start))


def _error_text(error: Exception) -> str:
    """An error as its row has it."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text[:_LONGEST_ERROR]


def run_sets(source: JobFile | SetEvaluator, sets: Sequence[Numbered]) -> list[Outcome]:
    """The task of a worker: the outcomes of some sets."""
    return (source if isinstance(source, SetEvaluator) else _evaluator_of(source)).evaluate(sets)


@lru_cache(maxsize=1)
def _evaluator_of(source: JobFile) -> SetEvaluator:
    return SetEvaluator(source.read())
