"""The command line of a sweep: the options of a run, and those of the search. ``--help`` imports nothing heavy."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backtest import runner
from backtest.command_line import EXIT_OK, ended_by
from backtest.sweep.settings import DIRECTIONS, ENGINES, SEARCHES, SweepSettings
from core.errors import ConfigError

if TYPE_CHECKING:
    from backtest.run_request import RunRequest
    from backtest.sweep.results.outcome import SweepOutcome

_RANGE_MARKS: Final = (",", "..")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sweep. Returns 0, 1 with a sentence on stderr, or 130 when interrupted; wrong usage ends with 2."""
    return ended_by("sweep", parser(), _answer, arguments)


def _answer(options: argparse.Namespace) -> int:
    from backtest.sweep.results.summary import plain_of, print_summary

    request, outcome = _swept(options)
    if options.report:
        outcome.files.update(_report(outcome, options))
    if options.as_json:
        print(json.dumps(plain_of(outcome, options.best)))
    else:
        print_summary(outcome, options.best)
        print(f"\nIs it luck?  {shlex.join(_what_comes_next(outcome, request, options.data or ()))}")
    return EXIT_OK


def parser() -> argparse.ArgumentParser:
    """The command line's grammar: that of a run, with lists and spans for ``--param``."""
    p = argparse.ArgumentParser(
        prog="python -m backtest.param_sweep",
        description="Run a strategy over many sets of parameters. A sweep that was ended goes on when started again.",
        epilog="Example: %(prog)s --strategy sma_cross_kernel_v1 --symbol BTC/USDT --no-risk "
        "--param fast=5..60..5 --param slow=20..200..20 --where 'fast < slow' --pbo",
        parents=[runner.parser()],
        conflict_handler="resolve",
    )
    p.add_argument(
        "--param",
        action="append",
        required=True,
        type=_parameter,
        metavar="NAME=VALUES",
        help="a list 10,20,30; a span 5..60, with a step 5..60..5, or 0.001..0.1:log; one value is the same for all",
    )
    p.add_argument("--report", action="store_true", help="write an HTML report of the best set as well")
    p.add_argument("--json", dest="as_json", action="store_true", help="the summary as JSON on stdout")
    search = p.add_argument_group("search")
    search.add_argument("--search", choices=SEARCHES, default="grid", help="grid (default), random, or led by Optuna")
    search.add_argument("--trials", type=int, default=100, metavar="N", help="sets of a random or Optuna search")
    search.add_argument("--search-seed", type=int, default=0, metavar="N", help="of the search's draws (default 0)")
    search.add_argument("--where", metavar="CONDITION", help="between parameters, such as 'fast < slow'")
    search.add_argument(
        "--objective", default="sharpe_ratio", metavar="METRIC", help="sorted by (default sharpe_ratio)"
    )
    search.add_argument("--direction", choices=DIRECTIONS, help="which way is better (default: the metric's own)")
    search.add_argument("--best", type=int, default=10, metavar="N", help="sets to show (default 10)")
    search.add_argument("--pbo", action="store_true", help="probability of backtest overfitting; keeps all returns")
    search.add_argument("--block", default="auto", metavar="1d|4h…", help="length of the returns kept for --pbo")
    place = p.add_argument_group("where it runs")
    place.add_argument("--engine", choices=ENGINES, default="auto", help="auto: compiled for kernels where it fits")
    place.add_argument("--workers", type=int, metavar="N", help="at once (default: one a core; 0: in this process)")
    place.add_argument("--cluster", metavar="tcp://HOST:PORT", help="the scheduler of a Dask cluster to run on")
    place.add_argument("--memory", metavar="500MB", help="what the sweep may take, workers included")
    place.add_argument("--fresh", action="store_true", help="run again what the checkpoint knows")
    place.add_argument("--quiet", action="store_true", help="no progress")
    return p


def _swept(options: argparse.Namespace) -> tuple[RunRequest, SweepOutcome]:
    from contextlib import ExitStack

    from backtest.run_request import RunRequest
    from backtest.sweep.parameter_sweep import ParameterSweep
    from backtest.sweep.running.memory import bytes_of
    from backtest.sweep.running.progress import say, shown
    from backtest.sweep.space.parameter_space import axis_of, value_of

    varied = [(name, text) for name, text in options.param if any(mark in text for mark in _RANGE_MARKS)]
    fixed = [(name, value_of(text)) for name, text in options.param if (name, text) not in varied]
    if not varied:
        raise ConfigError("--param: expected at least one with several values, such as fast=10,20,30 or fast=5..60")
    settings = SweepSettings(
        search=options.search,
        trials=options.trials,
        seed=options.search_seed,
        objective=options.objective,
        direction=options.direction,
        engine=options.engine,
        workers=options.workers,
        memory=None if options.memory is None else bytes_of(options.memory),
        block=options.block if options.pbo else None,
        fresh=options.fresh,
    )
    request = RunRequest.of(argparse.Namespace(**{**vars(options), "param": fixed}))
    with ExitStack() as stack:
        watch = stack.enter_context(shown(quiet=options.quiet))
        executor = None if options.cluster is None else stack.enter_context(_cluster(options.cluster))
        tell = None if options.quiet else say
        sweep = ParameterSweep.of_request(request, settings=settings, executor=executor, watch=watch, say=tell)
        for name, text in varied:
            sweep.add_axis(axis_of(name, text))
        if options.where is not None:
            sweep.add_constraint(options.where)
        return request, sweep.run_here()


def _cluster(address: str) -> Any:
    """The executor of a Dask cluster, as a context manager. Raises ConfigError."""
    from contextlib import contextmanager

    try:
        from distributed import Client
    except ImportError:
        raise ConfigError("--cluster: expected the package distributed, got none; pip install distributed") from None

    @contextmanager
    def connected() -> Any:
        try:
            client: Any = Client(address, timeout=10)  # type: ignore[no-untyped-call]  # distributed's
        except (OSError, TimeoutError) as error:
            raise ConfigError(f"--cluster: expected a scheduler at {address}, got {error}") from None
        with client:
            yield client.get_executor()

    return connected()


def _report(outcome: SweepOutcome, options: argparse.Namespace) -> dict[str, Path]:
    """The best set once more, in the event engine, with everything that a report shows."""
    from backtest.data.series import BarSeries
    from backtest.engine import run_backtest
    from backtest.report import generate_report
    from backtest.run_request import RunRequest

    best = outcome.table.iloc[0]
    params = {**outcome.config.params, **{name: _item(best[name]) for name in outcome.names}}
    request = RunRequest.of(argparse.Namespace(**{**vars(options), "param": list(params.items())}))
    result = run_backtest(
        request.config, request.data, request.entrants, instruments=request.instruments, limits=request.limits
    )
    bars = [source for source in request.data if isinstance(source, BarSeries)]
    path = request.folder / f"report_sweep_{request.name}.html"
    return {"report": generate_report(result, path, series=bars or None, sweep=outcome.table)}


def _item(value: Any) -> Any:
    """A number of a table as Python's own."""
    return value.item() if hasattr(value, "item") else value


def _what_comes_next(outcome: SweepOutcome, request: RunRequest, files: Sequence[Path]) -> list[str]:
    """The command that looks for luck, with the bars where it would compare the sets with holding the market."""
    command = ["njord-ctl", "lint-backtest", str(outcome.files["json"])]
    if outcome.ends_ns is None or len(outcome.config.traded) > 1 or outcome.config.fill_timing.value == "next_trade":
        return command
    if request.journals is not None:
        return [*command, "--journals", str(request.journals)]
    return [*command, *(word for file in files for word in ("--bars", str(file)))]


def _parameter(text: str) -> tuple[str, str]:
    name, separator, values = text.partition("=")
    if not separator or not name.isidentifier() or not values:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUES such as fast=10,20,30, got {text!r}")
    return name, values
