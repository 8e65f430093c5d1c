"""``njord-ctl backtest``, ``sweep``, ``lint-backtest``, ``honesty``: another way in to the backtester's command lines.

Options, answers and exit statuses are those of ``python -m``; nothing of theirs is repeated here, nor imported before
it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer

_FOREIGN = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (backtest, sweep, lint_backtest, honesty):
        app.command(add_help_option=False, context_settings=_FOREIGN)(command)


def backtest(context: typer.Context) -> None:
    """Run a strategy over recorded bars or trades."""
    _hand_over(context, "backtest.runner")


def sweep(context: typer.Context) -> None:
    """Run a strategy over many sets of parameters."""
    _hand_over(context, "backtest.sweep.command")


def lint_backtest(context: typer.Context) -> None:
    """Say what speaks against a backtest or a sweep."""
    _hand_over(context, "backtest.lint.command")


def honesty(context: typer.Context) -> None:
    """Look for decisions that knew the future."""
    _hand_over(context, "backtest.lookahead.command")


def _hand_over(context: typer.Context, module: str) -> None:
    status = _answered(f"njord-ctl {context.info_name}", import_module(module), context.args)
    if status:
        raise typer.Exit(status)


def _answered(prog: str, command_line: Any, arguments: Sequence[str]) -> int:
    """The status of a command line; its help and what it says of wrong usage go by the name that was typed."""
    grammar = command_line.parser()
    grammar.prog = prog
    grammar.parse_args(arguments)  # ends here for --help and for what cannot be understood
    status: int = command_line.main(arguments)
    return status
