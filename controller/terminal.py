"""The answers of commands: tables and colour on a terminal, plain columns in a pipe, JSON when asked.

Answers go to standard output, errors to standard error, so that a script may read one without the other.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from textwrap import TextWrapper
from typing import Any, Final, NoReturn

from core.console import write_json

NS_PER_S: Final = 1_000_000_000
_NARROWEST: Final = 40  # columns that a folded line has at least behind its indent
_RED: Final = "\033[31m"
_BOLD: Final = "\033[1m"
_RESET: Final = "\033[0m"
_ERASE: Final = "\033[K"


class Exit(IntEnum):
    """The exit statuses of every command; they are public surface and do not change."""

    DONE = 0
    """Done; what was asked about is sound."""
    FAILED = 1
    """It was not done: the disk refuses, a server does not answer."""
    USAGE = 2
    """The command line cannot be understood, or names a file that is not there."""
    PARTLY = 3
    """Done in part, or it could not be found out."""
    BAD = 4
    """The answer is bad news: a broken ledger, a flawed configuration, a tripped kill switch."""


class CommandError(Exception):
    """A command ends here with a status and a reason that says what to do."""

    def __init__(self, status: Exit, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(reason)


def print_json(value: object) -> None:
    """One JSON value on one line."""
    write_json(json.dumps(value, ensure_ascii=False, default=str))


def print_line(text: str) -> None:
    """One line of an answer."""
    sys.stdout.write(text + "\n")


def print_folded(text: str, indent: int) -> None:
    """One line of an answer; on a terminal folded between words, its further lines indented by so many columns."""
    if not sys.stdout.isatty():
        print_line(text)
        return
    width = max(shutil.get_terminal_size().columns, indent + _NARROWEST)
    fold = TextWrapper(
        width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    )
    print_line(fold.fill(text))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: ruled on a terminal, aligned by spaces elsewhere."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*head)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    for line in aligned(head, rows):
        print_line(line)


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """A table as lines, aligned by spaces; the columns in ``right`` at their right edge."""
    widths = [max(len(line[column]) for line in (head, *rows)) for column in range(len(head))]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *rows)
    ]


def print_heading(title: str, verdict: str = "", *, alarming: bool = False) -> None:
    """The title of the lines below, with a verdict in a word: bold on a terminal, red when it is alarming."""
    if not sys.stdout.isatty():
        print_line(f"{title}  {verdict}".rstrip())
        return
    print_line(f"{_BOLD}{title}{_RESET}  {f'{_RED}{verdict}{_RESET}' if alarming else verdict}".rstrip())


def alarming(text: str) -> str:
    """A part of an answer that is bad news: red on a terminal."""
    return f"{_RED}{text}{_RESET}" if sys.stdout.isatty() else text


def print_passing(text: str = "") -> None:
    """The work in progress, on standard error, until the next one takes its place; on a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{_ERASE}{text}")
        sys.stderr.flush()


def print_warning(text: str) -> None:
    """A message that an operator must not miss, on standard error, in red on a terminal."""
    sys.stderr.write(f"{_RED}{text}{_RESET}\n" if sys.stderr.isatty() else f"{text}\n")


def fail(status: Exit, reason: str) -> NoReturn:
    """End the command with a status and a reason that says what to do."""
    raise CommandError(status, reason)


def iso_time(ts_ns: int) -> str:
    """UTC epoch nanoseconds as ISO 8601 with all nine digits: what is printed can be looked up again."""
    seconds, rest = divmod(ts_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def brief(value: Any, limit: int = 120) -> str:
    """A JSON value on one line, cut to ``limit`` characters."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return text if len(text) <= limit else text[: limit - 1] + "…"
