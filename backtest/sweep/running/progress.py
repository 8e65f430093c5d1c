"""The progress of a sweep on stderr: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from backtest.metrics.formatting import duration, number

if TYPE_CHECKING:
    from backtest.sweep.running.run import Progress

Watch = Callable[["Progress"], None]
_LINE_S: Final = 10.0  # between lines where there is no terminal
_NARROW: Final = 100  # columns of a terminal below which the bar leaves out what can be missed


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Watch]:
    """What is told of progress while the context lasts."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield _lines()


def say(text: str) -> None:
    """A sentence, above the bar where there is one."""
    print(f"sweep: {text}", file=sys.stderr, flush=True)


def progress_line(progress: Progress) -> str:
    """How far it is, in a line."""
    parts = [f"{progress.done:,} of {progress.total:,} sets"]
    if progress.best is not None:
        parts.append(f"best {number(progress.best)}")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.left_s and progress.done < progress.total:
        parts.append(f"{duration(progress.left_s)} left")
    return ", ".join(parts)


def _lines() -> Watch:
    last = [time.monotonic() - _LINE_S, -1.0]

    def watch(progress: Progress) -> None:
        now = time.monotonic()
        ended = progress.done == progress.total
        if progress.done == last[1] or (now - last[0] < _LINE_S and not ended):
            return
        last[:] = now, float(progress.done)
        print(f"sweep: {progress_line(progress)}", file=sys.stderr, flush=True)

    return watch


@contextmanager
def _bar() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns: list[Any] = [TextColumn("Sweep"), BarColumn(bar_width=None), TextColumn("{task.percentage:>3.0f}%")]
    columns.append(TextColumn("{task.fields[line]}"))
    with Bars(*columns, console=console, transient=True, expand=console.width < _NARROW) as bars:
        task = bars.add_task("sweep", total=None, line="starting")

        def watch(progress: Progress) -> None:
            bars.update(task, completed=progress.done, total=progress.total, line=progress_line(progress))

        yield watch
