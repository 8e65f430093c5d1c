"""The command line of the rehearsal. Everything heavy is imported when a run begins."""

from __future__ import annotations

import json as json_lines
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from core.errors import ConfigError, NjordError

if TYPE_CHECKING:
    from backtest.simulation.session import Report

PROGRAM: Final = "python -m backtest.simulation.rehearsal"
EXIT_BROKEN: Final = 1
EXIT_USAGE: Final = 2
LAST_EVENTS: Final = 20
_S_PER_DAY: Final = 86_400
_app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@_app.command(help="The real daemons in one process, on a virtual clock, under seeded faults; then all must add up.")
def command(
    seed: Annotated[int | None, typer.Option(help="Run this one seed")] = None,
    seeds: Annotated[int, typer.Option(help="Run so many seeds", min=1)] = 20,
    first: Annotated[int, typer.Option("--from", help="The first of them")] = 1,
    minutes: Annotated[float, typer.Option(help="Virtual minutes under faults, per seed", min=0.05)] = 2.0,
    faults: Annotated[str, typer.Option(help="all, none, or names with commas; --list-faults has them")] = "all",
    jobs: Annotated[int, typer.Option(help="Processes that share the seeds", min=1)] = 1,
    keep: Annotated[Path | None, typer.Option(help="Keep what is written in this empty folder, one per seed")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per seed")] = False,
    list_faults: Annotated[bool, typer.Option("--list-faults", help="Say what can be done to the fleet")] = False,
) -> None:
    """Run the seeds and print their outcome; exit status 1 when an invariant broke."""
    from backtest.simulation.world.faults import KINDS, named

    if list_faults:
        for kind in KINDS.values():
            typer.echo(f"{kind.name:14} {kind.summary}")
        return
    named(faults)  # a wrong name is told before anything starts
    numbers = [seed] if seed is not None else list(range(first, first + seeds))
    began = time.perf_counter()
    reports: list[Report] = []
    with _progress(len(numbers), shown=not json and sys.stderr.isatty()) as show:
        for report in run_all(numbers, minutes, faults, jobs, keep):
            reports.append(report)
            show(reports)
            if json:
                typer.echo(json_lines.dumps(as_json(report)))
            elif report.violations:
                typer.echo(violations_text(report))
    if not json:
        typer.echo(summary(reports, time.perf_counter() - began))
        if seed is not None:
            typer.echo(f"SHA-256        {reports[0].sha256}")
    if any(report.violations for report in reports):
        raise typer.Exit(EXIT_BROKEN)


def run_all(seeds: Sequence[int], minutes: float, faults: str, jobs: int, keep: Path | None) -> Iterator[Report]:
    """A report of every seed, in order; ``jobs`` processes share the work."""
    run = partial(_run_one, minutes=minutes, faults=faults, keep=keep, several=len(seeds) > 1)
    if jobs == 1 or len(seeds) == 1:
        yield from map(run, seeds)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(run, seeds, chunksize=4)


def _run_one(seed: int, *, minutes: float, faults: str, keep: Path | None, several: bool) -> Report:
    from backtest.simulation.session import run

    folder = keep if keep is None or not several else keep / f"seed-{seed}"
    return run(seed, minutes, faults, folder)


def as_json(report: Report) -> dict[str, object]:
    """A report as plain values, with the command that repeats it."""
    from dataclasses import asdict

    return {**asdict(report), "command": report.command}


def violations_text(report: Report) -> str:
    """The violations of a seed, the last events ahead of them, and the command that repeats it."""
    lines = [f"seed {report.seed} broke at virtual second {report.virtual_s:.3f}:"]
    lines += [f"  {text}" for text in report.violations[:LAST_EVENTS]]
    lines += ["the last events before it:", *(f"  {text}" for text in report.recent[-LAST_EVENTS:])]
    lines += ["to repeat it:", f"  {report.command}", ""]
    return "\n".join(lines)


def summary(reports: Sequence[Report], wall_s: float) -> str:
    """All runs together."""
    from backtest.simulation.session import total

    virtual_s = sum(report.virtual_s for report in reports)
    counts = _sum(report.counts for report in reports)
    slowest = max(reports, key=lambda report: report.settled_s)
    broken = [report.seed for report in reports if report.violations]
    rate = virtual_s / _S_PER_DAY / (wall_s / 60)
    rows = [
        ("seeds", f"{len(reports)}, from {reports[0].seed} to {reports[-1].seed}"),
        ("virtual time", f"{_in_words(virtual_s)} in {wall_s:.1f} s: {rate:.2f} virtual days a minute"),
        ("the fleet", ", ".join(f"{count:,} {name}" for name, count in counts.items())),
        ("transactions", f"{sum(report.transactions for report in reports):,}"),
        ("crashes", f"{sum(report.crashes for report in reports):,}"),
        ("reloads", f"{sum(report.reloads for report in reports):,}"),
        ("faults", ", ".join(f"{name} {count:,}" for name, count in sorted(total(reports).items())) or "none"),
        ("at rest", f"within {slowest.settled_s:.1f} virtual seconds after the last fault (seed {slowest.seed})"),
        ("violations", f"seeds {', '.join(map(str, broken))}" if broken else "none"),
    ]
    return "\n".join(f"{name:14} {text}" for name, text in rows)


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    out: dict[str, int] = {}
    for part in counts:
        for name, count in part.items():
            out[name] = out.get(name, 0) + count
    return out


def _in_words(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


@contextmanager
def _progress(count: int, *, shown: bool) -> Iterator[Callable[[Sequence[Report]], None]]:
    """A line on stderr that says how far the seeds are, on a terminal."""

    def show(reports: Sequence[Report]) -> None:
        broken = sum(1 for report in reports if report.violations)
        line = f"seed {reports[-1].seed}: {len(reports)} of {count}, {broken} broken"
        sys.stderr.write(f"\r{line}\x1b[K")
        sys.stderr.flush()

    yield show if shown else lambda _: None
    if shown:
        sys.stderr.write("\r\x1b[K")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    try:
        _app(args=None if argv is None else list(argv), prog_name=PROGRAM, standalone_mode=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_BROKEN
    except NjordError as error:
        sys.stderr.write(f"rehearsal: {error}\n")
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_BROKEN
    return 0
