"""``python -m benchmarks``: which benchmarks run, on what machine, and the table of what came out."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import server
from benchmarks.hardware import Hardware, look
from benchmarks.processes import ProcessError
from benchmarks.result import Figure, Result, SkippedError, VerificationError
from benchmarks.workload import Workload

MODULES: Final = {
    "ingest": "ingest",
    "fleet": "fleet",
    "book": "book",
    "codec": "codec_cost",
    "hop": "hop",
    "chain": "chain",
    "ledger": "ledger_hop",
    "recovery": "recovery",
    "start": "start",
    "backtest": "backtest",
    "sweep": "sweep",
}
_PIPED_WIDTH: Final = 160
EXIT_MISSED: Final = 1
EXIT_USAGE: Final = 2
EXIT_WRONG: Final = 3
_app: Final = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@_app.command(help=f"Measure the fleet beside the bare libraries: {', '.join(MODULES)}.")
def command(
    names: Annotated[list[str] | None, typer.Argument(help="Which benchmarks  [default: all]")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Less work, rougher figures")] = False,
    output: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file, - for stdout")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when a budget is missed")] = False,
) -> None:
    """Run, verify, time, report."""
    unknown = [name for name in names or () if name not in MODULES]
    if unknown:
        print(f"benchmarks: unknown {', '.join(unknown)}: expected some of {', '.join(MODULES)}", file=sys.stderr)
        raise typer.Exit(EXIT_USAGE)
    console = Console(stderr=output == Path("-"), width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    results, skipped, hardware = measure(names or list(MODULES), console, quick=quick)
    console.print(f"\n{hardware}", style="dim", highlight=False)
    for name, reason in skipped.items():
        console.print(f"{name} skipped: {reason}", style="yellow", highlight=False)
    if output is not None:
        text = json.dumps(as_json(results, skipped, hardware), indent=2) + "\n"
        if output == Path("-"):
            sys.stdout.write(text)
        else:
            output.write_text(text)
    if check and any(figure.met is False for result in results for figure in result.figures):
        raise typer.Exit(EXIT_MISSED)


def measure(
    names: Sequence[str], console: Console, *, quick: bool = False
) -> tuple[list[Result], dict[str, str], Hardware]:
    """Run benchmarks one after the other on a server of their own, printing each as it is done.

    Raises:
        VerificationError: an output was wrong.
        ServerMissingError: there is no server program.
    """
    results: list[Result] = []
    skipped: dict[str, str] = {}
    with server.running() as redis, tempfile.TemporaryDirectory(prefix="njord-bench-") as folder:
        hardware = look(Path(folder), redis.version)
        console.print(str(hardware), highlight=False)
        for name in names:
            bench: Callable[[Workload], Result] = import_module(f"benchmarks.{MODULES[name]}").run
            target = Path(folder) / name
            target.mkdir()
            started = time.monotonic()
            try:
                result = bench(Workload(target, redis.url, redis.unix_url, quick=quick))
            except SkippedError as reason:
                skipped[name] = str(reason)
                continue
            results.append(result)
            print_result(result, console, time.monotonic() - started)
    return results, skipped, hardware


def print_result(result: Result, console: Console, took_s: float) -> None:
    """One benchmark's table."""
    table = Table(title=f"{result.name}  ({took_s:.0f} s: {result.work})", title_justify="left", title_style="bold")
    table.add_column("figure")
    for heading in ("ours", "floor", "ours/floor", "budget"):
        table.add_column(heading, justify="right")
    table.add_column("note", overflow="fold")
    for figure in result.figures:
        table.add_row(*_cells(figure))
    console.print(table)


def _cells(figure: Figure) -> tuple[str, ...]:
    met = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[figure.met]
    return (
        figure.label,
        f"{figure.value:,.0f} {figure.unit}",
        "" if figure.floor is None else f"{figure.floor:,.0f}",
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        "" if figure.budget is None else f"{figure.budget} {met}",
        figure.note,
    )


def as_json(results: Sequence[Result], skipped: dict[str, str], hardware: Hardware) -> dict[str, Any]:
    """Everything as plain values."""
    return {
        "hardware": dataclasses.asdict(hardware),
        "skipped": skipped,
        "benchmarks": {
            result.name: {"work": result.work, "figures": [_as_row(figure) for figure in result.figures]}
            for result in results
        },
    }


def _as_row(figure: Figure) -> dict[str, Any]:
    row = dataclasses.asdict(figure)
    return {**row, "budget": figure.budget and str(figure.budget), "ratio": figure.ratio, "met": figure.met}


def main() -> int:
    """Run the command; a wrong output ends it with 3 and one sentence."""
    try:
        _app(prog_name="python -m benchmarks")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else EXIT_WRONG
    except (VerificationError, ProcessError, server.ServerMissingError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return EXIT_WRONG
    return 0
