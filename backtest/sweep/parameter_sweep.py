"""``ParameterSweep``: one strategy over many sets of parameters, resumable, in parallel, honest about chance.

Nothing heavy is imported before a sweep runs.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backtest.sweep.inputs import SweepInputs
from backtest.sweep.results.outcome import SweepOutcome
from backtest.sweep.settings import SweepSettings
from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from backtest.contracts import BacktestConfig
    from backtest.data.series import BarSeries
    from backtest.data.trade_tape import TradeTape
    from backtest.run_request import RunRequest
    from backtest.sweep.job import Outcome, SweepJob
    from backtest.sweep.results.results import Results
    from backtest.sweep.results.trials import TrialLog
    from backtest.sweep.running.checkpoint import Checkpoint, SweepFingerprint
    from backtest.sweep.running.run import Progress
    from backtest.sweep.space.parameter_space import Axis, Constraint, ParameterSpace
    from backtest.sweep.space.search import Search
    from core.instruments import Instruments
    from risk.limits import RiskLimits

_ROWS: Final = 1_000  # of the table made into text at a time


@dataclass(frozen=True, eq=False)
class _Work:
    """A sweep under way.

    Attributes:
        note: in which engine it runs and why.
        maximize: whether more of the objective is better.
        name: what its files are called by.
        folder: where they go.
    """

    job: SweepJob
    note: str
    space: ParameterSpace
    search: Search
    maximize: bool
    results: Results
    trial_log: TrialLog
    fingerprint: SweepFingerprint
    name: str
    folder: Path

    @property
    def blocks(self) -> int:
        """How many returns of each set are kept."""
        return 0 if self.job.block_ends is None else len(self.job.block_ends)

    @property
    def compiled_limit(self) -> str:
        """The first error where the compiled engine could run none of the sets; empty where it ran one."""
        errors, sets = self.results.errors, self.results.sets
        return errors[min(errors)] if self.job.compiled and errors and len(errors) == len(sets) else ""


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
        self._inputs = SweepInputs(config=config, data=data, strategy=strategy, instruments=instruments, limits=limits)
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
        from backtest.sweep.space.parameter_space import choice

        self.add_axis(choice(name, values))

    def add_axis(self, axis: Axis) -> None:
        """Add a parameter with a list or a span of values. Raises ConfigError when it has been added before."""
        if axis.name in (added.name for added in self._axes):
            raise ConfigError(f"parameter {axis.name}: expected to be added once, got it a second time")
        self._axes.append(axis)

    def add_constraint(self, constraint: Constraint | str) -> None:
        """Only sets for which this holds: a function of a set by name, or text such as ``fast < slow``."""
        if isinstance(constraint, str):
            from backtest.sweep.space.constraint import Where

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
        stop = stop or threading.Event()
        outcome = self._swept(self._prepared(self.settings), stop)
        if isinstance(outcome, str):  # the compiled engine cannot
            work = self._prepared(replace(self.settings, engine="event"))
            outcome = self._swept(replace(work, note=f"event engine, since the compiled one cannot: {outcome}"), stop)
        assert isinstance(outcome, SweepOutcome)
        self.outcome = outcome
        return outcome

    def _swept(self, work: _Work, stop: threading.Event) -> SweepOutcome | str:
        """The outcome; or the reason why the compiled engine, which nobody asked for, ran none of the sets."""
        from backtest.sweep.running.checkpoint import Checkpoint

        folder = work.folder / "sweeps"
        with Checkpoint(folder, work.name, work.fingerprint, work.blocks, fresh=self.settings.fresh) as checkpoint:
            checkpoint.restore(work.results.restore)
            notes = tuple(note for note in (checkpoint.note, work.note) if note)
            for note in notes:
                self._say(note)
            self._evaluate(work, checkpoint, stop)
            limit = work.compiled_limit if self.settings.engine == "auto" else ""
            return limit or self._outcome(work, checkpoint, notes)

    def _prepared(self, settings: SweepSettings) -> _Work:
        """Everything that a sweep needs before its first set runs. Raises ConfigError."""
        from backtest.sweep.results.columns import direction_of
        from backtest.sweep.results.results import Results
        from backtest.sweep.results.trials import TrialLog
        from backtest.sweep.setup import fingerprint_of, job_of
        from backtest.sweep.space.parameter_space import ParameterSpace
        from backtest.sweep.space.search import search_of

        request = self._requested()
        space = ParameterSpace(tuple(self._axes), self._constraint)
        direction = settings.direction or direction_of(settings.objective)
        search = search_of(settings.search, space, settings.trials, settings.seed, direction)
        job, note = job_of(request, space.names, settings, search.total)
        fingerprint = fingerprint_of(job, search)
        return _Work(
            job=job,
            note=note,
            space=space,
            search=search,
            maximize=direction == "maximize",
            results=Results(),
            trial_log=TrialLog(request.folder / "trials", self.strategy_id, fingerprint.data),
            fingerprint=fingerprint,
            name=request.name,
            folder=request.folder,
        )

    def _evaluate(self, work: _Work, checkpoint: Checkpoint, stop: threading.Event) -> None:
        """Every set of the search that the checkpoint does not know, by the workers."""
        from contextlib import nullcontext

        from backtest.sweep.job import JobFile
        from backtest.sweep.results.trials import trial_of
        from backtest.sweep.running.evaluation import SetEvaluator
        from backtest.sweep.running.memory import Load, planned, resident_bytes
        from backtest.sweep.running.run import SweepRun
        from backtest.sweep.running.workers import placed, processes, threads, workers_of
        from backtest.sweep.setup import bars_of, marks_of
        from core.clock import SystemClock

        settings, job, search, clock = self.settings, work.job, work.search, SystemClock()
        evaluator, checksum = SetEvaluator(job), work.fingerprint.combined
        workers = settings.workers if settings.workers is not None else min(os.cpu_count() or 1, search.total)
        warm = job.compiled and settings.memory is not None and self._executor is None and evaluator.compiled.warm()
        load = Load(search.total, bars_of(job), job.compiled, work.blocks, marks_of(job), warm)
        plan = planned(load, workers, settings.memory, resident_bytes())

        def keep(outcomes: Iterable[Outcome]) -> None:
            now = clock.now_ns()
            work.trial_log.add(trial_of(job, outcome, now, checksum) for outcome in outcomes if not outcome.error)

        own = threads if job.compiled else processes  # machine code lets go of the interpreter's lock
        finished = len(work.results) == search.total
        pool = nullcontext(self._executor) if self._executor is not None else own(0 if finished else plan.workers)
        with pool as executor:
            run = SweepRun(
                search, work.results, checkpoint, (settings.objective, work.maximize),
                workers=workers_of(executor, max(1, plan.workers)), most=plan.chunk, keep=keep, watch=self._watch,
                stop=stop,
            )  # fmt: skip
            source = placed(executor, evaluator, lambda: JobFile.write(job, checkpoint.job_path, checksum))
            run.run(executor, source)

    def _outcome(self, work: _Work, checkpoint: Checkpoint, notes: tuple[str, ...]) -> SweepOutcome:
        """The table of all sets and what it is worth, also as files. Raises ConfigError when every set failed."""
        from backtest.sweep.results.overfitting import deflated_sharpes, overfitting
        from backtest.sweep.results.results import ranked
        from backtest.sweep.results.summary import write_json
        from backtest.sweep.setup import span_of

        results, trial_log, ends_ns = work.results, work.trial_log, work.job.block_ends
        if len(results.errors) == len(results.sets):
            raise ConfigError(f"all {len(results.sets):,} sets failed, the first one with {results.errors[0]}")
        frame = results.frame(work.space.names, {"deflated_sharpe": deflated_sharpes(results, trial_log.sharpes())})
        files = {
            "csv": work.folder / "sweep_results.csv",
            "json": work.folder / "sweep_results.json",
            "checkpoint": checkpoint.path,
            "trials": trial_log.path,
        }
        if ends_ns is not None:
            files["returns"] = checkpoint.returns_path
        outcome = SweepOutcome(
            table=ranked(frame, self.settings.objective, maximize=work.maximize),
            space=work.space,
            objective=self.settings.objective,
            maximize=work.maximize,
            config=work.job.config,
            compiled=work.job.compiled,
            trials=len(trial_log),
            overfitting=None if ends_ns is None else overfitting(checkpoint.returns(len(results.sets))),
            notes=notes,
            files=files,
            data=work.fingerprint.data,
            span=span_of(work.job),
            ends_ns=ends_ns,
        )
        _write(files["csv"], lambda part: outcome.table.to_csv(part, index=False, chunksize=_ROWS))
        _write(files["json"], lambda part: write_json(outcome, part))
        return outcome

    def _requested(self) -> RunRequest:
        """The run that every set shares."""
        from backtest.sweep.request import request_of

        request = self._request or request_of(self.strategy_id, self.symbol, self._inputs)
        return request if self.settings.folder is None else replace(request, folder=self.settings.folder)


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """All at once or not at all."""
    part = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        os.replace(part, path)
    except OSError as error:
        raise ConfigError(f"{path}: expected a file that can be written, got {error}; choose --out") from None
