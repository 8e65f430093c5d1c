"""The frame of every command line of the backtester: its errors in a sentence and its exit status.

Each of them has a ``parser()`` and a ``main(arguments)`` that comes down to ``ended_by``; ``python -m`` and
``njord-ctl`` call the same two. Light, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final

from backtest.errors import RunInterruptedError
from core.errors import NjordError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_BAD: Final = 4
"""The answer is bad news: a decision that knew the future, a warning where ``--strict`` was asked for."""
EXIT_INTERRUPTED: Final = 130


def ended_by(
    name: str,
    parser: argparse.ArgumentParser,
    answer: Callable[[argparse.Namespace], int],
    arguments: Sequence[str] | None = None,
) -> int:
    """The status of a command: what ``answer`` returns, 1 with a sentence on stderr, or 130 when interrupted.

    Wrong usage ends the process with 2, as ``argparse`` does. A reader of the answer that went away, such as ``head``,
    gets no complaint, only the status 1.

    Args:
        name: what the sentence on stderr begins with.
        arguments: those of the process, by default.
    """
    options = parser.parse_args(arguments)
    try:
        status = answer(options)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 — what is left to be written at the end goes nowhere
        return EXIT_FAILED
    except NjordError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return EXIT_INTERRUPTED if isinstance(error, RunInterruptedError) else EXIT_FAILED
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
