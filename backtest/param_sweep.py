"""Parameter sweeps: a strategy over many sets of parameters, resumable, in parallel, and honest about chance.

``python -m backtest.param_sweep`` is the command line, see ``backtest.sweep.command``. Nothing heavy is imported
before a sweep runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backtest.sweep.settings import SweepSettings
from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from backtest.contracts import BacktestConfig
    from backtest.data.series import BarSeries
    from backtest.data.trade_tape import TradeTape
    from backtest.metrics.returns import Ints
    from backtest.run_request import RunRequest
    from backtest.sweep.checkpoint import Checkpoint
    from backtest.sweep.job import Outcome, SweepJob
    from backtest.sweep.results import Results
    from backtest.sweep.run import Progress
    from backtest.sweep.search import Search
    from backtest.sweep.space import Axis, Constraint, ParameterSpace
    from backtest.sweep.trials import TrialLedger
    from core.instruments import Instruments
    from research.overfitting import OverfittingProbability
    from risk.limits import RiskLimits

_ROWS: Final = 1_000  # of the table made into text at a time


@dataclass(frozen=True, eq=False)
class SweepOutcome:
    """A finished sweep.

    Attributes:
        table: a row per set, best first: the parameters, the metrics, ``error``.
        names: of the parameters.
        maximize: whether more of ``objective`` is better.
        trials: how many sets were ever tried on this data, this sweep's included.
        overfitting: of the kept returns, where they were kept.
        notes: how it began and in which engine.
        files: what was written, by kind; ``returns`` only where they were kept.
        ends_ns: where the kept returns end, each where the next one begins; None where none were kept.
    """

    table: pd.DataFrame
    space: ParameterSpace
    objective: str
    maximize: bool
    config: BacktestConfig
    compiled: bool
    trials: int
    overfitting: OverfittingProbability | None
    notes: tuple[str, ...]
    files: dict[str, Path]
    ends_ns: Ints | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return self.space.names


class ParameterSweep:
    """Backtests of one strategy across ranges of its parameters.

    Args:
        strategy_id: of a sample or kernel, of an entry in ``config/strategies.yaml``, or any name for ``strategy``.
        symbol: what it trades.
        config: the run that every set shares; without it, the defaults of ``python -m backtest.runner``.
        data: bars or trades; without them, the installation's journals.
        strategy: a class that other processes can import, instead of the one of that id.
        executor: where sets run, instead of processes of the sweep's own; it is not shut down.
        watch: told how far the sweep is.
        say: told in words, before the first set runs, in which engine and why, and what is known from before.

    Attributes:
        outcome: of the latest run.
    """

    def __init__(
        self,
        strategy_id: str,
        symbol: str,
        *,
        config: BacktestConfig | None = None,
        data: BarSeries | Iterable[BarSeries | TradeTape] | None = None,
        strategy: Any = None,
        instruments: Instruments | None = None,
        limits: RiskLimits | None = None,
        settings: SweepSettings | None = None,
        executor: Executor | None = None,
        watch: Callable[[Progress], None] | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self.strategy_id = strategy_id
        self.symbol = symbol
        self.settings = settings or SweepSettings()
        self.outcome: SweepOutcome | None = None
        self._given = config, data, strategy, instruments, limits
        self._executor = executor
        self._watch = watch or (lambda progress: None)
        self._say = say or (lambda text: None)
        self._axes: list[Axis] = []
        self._constraint: Constraint | None = None
        self._request: RunRequest | None = None

    @classmethod
    def of_request(cls, request: RunRequest, **options: Any) -> ParameterSweep:
        """Of a run that was put together, as by a command line."""
        sweep = cls(request.config.strategy_id, request.config.symbol, **options)
        sweep._request = request
        return sweep

    def add_param_range(self, name: str, values: Sequence[Any]) -> None:
        """Add a parameter and the values it takes, such as ``"lookback_periods", [10, 20, 30]``. Raises ConfigError."""
        from backtest.sweep.space import choice

        self.add_axis(choice(name, values))

    def add_axis(self, axis: Axis) -> None:
        """Add a parameter with a list or a span of values. Raises ConfigError when it has been added before."""
        if axis.name in (each.name for each in self._axes):
            raise ConfigError(f"parameter {axis.name}: expected to be added once, got it a second time")
        self._axes.append(axis)

    def where(self, constraint: Constraint | str) -> None:
        """Only sets for which this holds: a function of a set by name, or text such as ``fast < slow``."""
        if isinstance(constraint, str):
            from backtest.sweep.constraint import Where

            constraint = Where(constraint, [axis.name for axis in self._axes])
        self._constraint = constraint

    async def run(self) -> pd.DataFrame:
        """Run all sets; the table, best first. A cancelled run ends with its checkpoint intact.

        Raises:
            ConfigError: parameters, data or configuration that do not fit; a strategy that fails on every set.
            SweepWorkerError: a worker process died.
        """
        stop = threading.Event()
        work = asyncio.create_task(asyncio.to_thread(self.run_here, stop))
        try:
            return (await asyncio.shield(work)).table
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([work])
            work.exception()  # that it was interrupted is known
            raise

    def run_here(self, stop: threading.Event | None = None) -> SweepOutcome:
        """``run`` in this thread.

        Raises:
            SweepInterruptedError: Ctrl-C, or ``stop`` was set from another thread.
            ConfigError, SweepWorkerError: as ``run``.
        """
        from backtest.sweep.checkpoint import Checkpoint
        from backtest.sweep.results import LESS_IS_BETTER, Results
        from backtest.sweep.search import search_of
        from backtest.sweep.setup import fingerprint_of, job_of
        from backtest.sweep.space import ParameterSpace
        from backtest.sweep.trials import TrialLedger

        settings, request = self.settings, self._requested()
        space = ParameterSpace(tuple(self._axes), self._constraint)
        direction = settings.direction or ("minimize" if settings.objective in LESS_IS_BETTER else "maximize")
        search = search_of(settings.search, space, settings.trials, settings.seed, direction)
        job, note = job_of(
            request.config, request.entrants[0], request.data, request.instruments, request.limits, space.names,
            settings, search.total,
        )  # fmt: skip
        fingerprint = fingerprint_of(job, search)
        results = Results()
        ledger = TrialLedger(request.folder / "trials", self.strategy_id, fingerprint.data)
        blocks = 0 if job.block_ends is None else len(job.block_ends)
        folder = request.folder / "sweeps"
        with Checkpoint(folder, request.name, fingerprint, blocks, fresh=settings.fresh) as checkpoint:
            checkpoint.restore(results.restore)
            notes = tuple(each for each in (checkpoint.note, note) if each)
            for each in notes:
                self._say(each)
            self._run(job, search, results, checkpoint, ledger, fingerprint.whole, direction, stop)
            self.outcome = self._outcome(job, space, results, checkpoint, ledger, direction, notes, request.folder)
        return self.outcome

    def _run(
        self,
        job: SweepJob,
        search: Search,
        results: Results,
        checkpoint: Checkpoint,
        ledger: TrialLedger,
        fingerprint: str,
        direction: str,
        stop: threading.Event | None,
    ) -> None:
        from contextlib import nullcontext

        from backtest.sweep.job import JobFile
        from backtest.sweep.memory import Load, planned, resident_bytes
        from backtest.sweep.run import SweepRun
        from backtest.sweep.setup import bars_of, marks_of
        from backtest.sweep.workers import lanes_of, placed, processes, threads
        from core.clock import SystemClock

        settings, clock = self.settings, SystemClock()
        wanted = settings.workers if settings.workers is not None else min(os.cpu_count() or 1, search.total)
        blocks = 0 if job.block_ends is None else len(job.block_ends)
        warm = job.compiled and settings.memory is not None and self._executor is None and job.kernel.warm()
        load = Load(search.total, bars_of(job), job.compiled, blocks, marks_of(job), warm)
        plan = planned(load, wanted, settings.memory, resident_bytes())

        def keep(outcomes: Iterable[Outcome]) -> None:
            now = clock.now_ns()
            ledger.add(trial_of(job, each, now, fingerprint) for each in outcomes if not each.error)

        own = threads if job.compiled else processes  # machine code lets go of the interpreter's lock
        nothing_left = len(results) == search.total
        pool = nullcontext(self._executor) if self._executor is not None else own(0 if nothing_left else plan.workers)
        with pool as executor:
            run = SweepRun(
                search, results, checkpoint, (settings.objective, direction == "maximize"),
                lanes=lanes_of(executor, max(1, plan.workers)), most=plan.chunk, keep=keep, watch=self._watch,
                stop=stop or threading.Event(),
            )  # fmt: skip
            source = placed(executor, job, lambda: JobFile.write(job, checkpoint.job_path, fingerprint))
            run.run(executor, source)

    def _outcome(
        self,
        job: SweepJob,
        space: ParameterSpace,
        results: Results,
        checkpoint: Checkpoint,
        ledger: TrialLedger,
        direction: str,
        notes: tuple[str, ...],
        folder: Path,
    ) -> SweepOutcome:
        from backtest.sweep.overfitting import deflated_sharpes, overfitting
        from backtest.sweep.results import ranked
        from backtest.sweep.summary import write_json

        if len(results.errors) == len(results.sets):
            raise ConfigError(f"all {len(results.sets):,} sets failed, the first one with {results.errors[0]}")
        frame = results.frame(space.names, {"deflated_sharpe": deflated_sharpes(results, ledger.sharpes())})
        table = ranked(frame, self.settings.objective, maximize=direction == "maximize")
        odds = None if job.block_ends is None else overfitting(checkpoint.returns(len(results.sets)))
        files = {
            "csv": folder / "sweep_results.csv",
            "json": folder / "sweep_results.json",
            "checkpoint": checkpoint.path,
            "trials": ledger.path,
        }
        if job.block_ends is not None:
            files["returns"] = checkpoint.returns_path
        outcome = SweepOutcome(
            table=table,
            space=space,
            objective=self.settings.objective,
            maximize=direction == "maximize",
            config=job.config,
            compiled=job.compiled,
            trials=len(ledger),
            overfitting=odds,
            notes=notes,
            files=files,
            ends_ns=job.block_ends,
        )
        _write(files["csv"], lambda part: table.to_csv(part, index=False, chunksize=_ROWS))
        _write(files["json"], lambda part: write_json(outcome, part))
        return outcome

    def _requested(self) -> RunRequest:
        """The run that every set shares."""
        from backtest.sweep.request import request_of

        request = self._request or request_of(self.strategy_id, self.symbol, *self._given)
        return request if self.settings.folder is None else replace(request, folder=self.settings.folder)


def trial_of(job: SweepJob, outcome: Outcome, ts_ns: int, fingerprint: str) -> Any:
    """A set that came out, as the ledger of trials keeps it."""
    from backtest.sweep.trials import Trial

    figures = outcome.metrics
    return Trial(
        params={**job.entrant.params, **dict(zip(job.names, outcome.values, strict=True))},
        sharpe=figures["sharpe_per_period"],
        count=int(figures["returns_count"]),
        mean=figures["returns_mean"],
        variance=figures["returns_variance"],
        skew=figures["returns_skew"],
        kurtosis=figures["returns_kurtosis"],
        ts_ns=ts_ns,
        fingerprint=fingerprint,
    )


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """All at once or not at all."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise ConfigError(f"{path}: expected a file that can be written, got {error}; choose --out") from None


if __name__ == "__main__":
    from backtest.sweep.command import main

    sys.exit(main())
