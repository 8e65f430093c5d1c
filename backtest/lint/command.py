"""Lint my backtest: ``python -m backtest.lint RESULT.json`` says in plain words why not to believe it yet.

``backtest.lint.rules`` holds the rules. Nothing heavy is imported before it is needed, so ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backtest.command_line import EXIT_BAD, EXIT_OK, ended_by
from backtest.lint.finding import Finding, Severity
from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from backtest.contracts import BacktestResult
    from backtest.data.run_bars import RecordedData
    from backtest.data.series import BarSeries
    from backtest.lint.case import Rerun
    from backtest.lint.search import Search

__all__ = ["Finding", "Severity", "lint", "lint_lines", "lint_search", "main"]

_NARROWEST: Final = 40  # columns that a folded line has at least
_WORDS: Final = {Severity.SERIOUS: "serious", Severity.WARNING: "warning", Severity.INFO: "note"}


def lint(
    result: BacktestResult,
    *,
    series: BarSeries | Iterable[BarSeries] | None = None,
    sweep: Search | pd.DataFrame | None = None,
    trials: int | None = None,
    rerun: Rerun | None = None,
    warm_up: int | None = None,
) -> list[Finding]:
    """Everything that speaks against a result, the worst first. What is left out silences the rules that need it.

    Args:
        result: the run.
        series: the bars it ran on.
        sweep: the search that its parameters came from, or only the table of it, a row per set.
        trials: how many variants were tried in all, sweeps and earlier attempts included.
        rerun: from a configuration to the result of the same strategy on the same data; asked for doubled costs.
        warm_up: bars that the strategy needs before its first opinion.
    """
    from backtest.data.series import BarSeries
    from backtest.lint.case import Case
    from backtest.lint.overfitting import not_in_search
    from backtest.lint.rules import CHOICE_RULES, RULES
    from backtest.lint.search import Search

    bars = () if series is None else (series,) if isinstance(series, BarSeries) else tuple(series)
    params = result.config.params if result.config else {}
    search = sweep if sweep is None or isinstance(sweep, Search) else Search.of_table(sweep, list(params))
    case = Case(result, bars, None if search is None else search.table, trials, rerun, warm_up)
    findings = [finding for rule in RULES for finding in rule(case)]
    if search is not None:
        choice = search.choosing(result.strategy_id, params)
        rules = CHOICE_RULES if choice.row is not None else (not_in_search,)
        findings += [finding for rule in rules for finding in rule(choice)]
    return _worst_first(findings)


def lint_search(search: Search) -> list[Finding]:
    """Everything that speaks against the best set of a search, the worst first."""
    from backtest.lint.rules import SEARCH_RULES

    return _worst_first(finding for rule in SEARCH_RULES for finding in rule(search))


def _worst_first(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: -finding.severity)


def lint_lines(findings: Sequence[Finding], width: int | None = None) -> list[str]:
    """For a terminal, folded to so many columns."""
    if not findings:
        return ["Nothing speaks against this result that could be seen in it."]
    counts = ", ".join(
        f"{sum(finding.severity is severity for finding in findings)} {word}"
        for severity, word in _WORDS.items()
        if any(finding.severity is severity for finding in findings)
    )
    lines = [f"{len(findings)} {'finding' if len(findings) == 1 else 'findings'}: {counts}"]
    for finding in findings:
        lines += _folded(f"{_WORDS[finding.severity]:>8}  ", finding.text, width)
        lines += _folded(f"{'':<8}  → ", f"{finding.advice} [{finding.rule}]", width)
    return lines


def _folded(margin: str, text: str, width: int | None) -> list[str]:
    """A text behind what stands before its first line; its further lines begin under its first word."""
    if width is None:
        return [margin + text]
    import textwrap

    lines = textwrap.wrap(text, max(width - len(margin), _NARROWEST), break_long_words=False, break_on_hyphens=False)
    return [(margin if at == 0 else " " * len(margin)) + line for at, line in enumerate(lines)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, 1 with a sentence on stderr, or 4 with ``--strict`` and warnings; wrong usage ends with 2."""
    return ended_by("lint", parser(), _answer, arguments)


def _answer(options: argparse.Namespace) -> int:
    findings = _run(options)
    if options.as_json:
        print(json.dumps([{**asdict(finding), "severity": _WORDS[finding.severity]} for finding in findings]))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print("\n".join(lint_lines(findings, width)))
    bad = any(finding.severity >= Severity.WARNING for finding in findings)
    return EXIT_BAD if options.strict and bad else EXIT_OK


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    p = argparse.ArgumentParser(
        prog="python -m backtest.lint",
        description="Say in plain words what speaks against the result of a backtest, or against the best set of a "
        "sweep.",
        epilog="Examples: %(prog)s var/backtest/result_sma_cross_v1_BTCUSDT.json --bars btc_1m.csv.gz --trials 200; "
        "%(prog)s var/backtest/sweep_results.json --bars btc_1m.csv.gz --strict",
    )
    p.add_argument("result", type=Path, metavar="RESULT.json", help="of a backtest, or a sweep's sweep_results.json")
    p.add_argument("--bars", type=Path, action="append", default=[], metavar="FILE", help="the bars, one file a symbol")
    p.add_argument(
        "--stamp",
        action="append",
        default=[],
        choices=("auto", "open", "close"),
        help="the end of the bars that times in --bars are, as in the run (default: as the data's checksum tells)",
    )
    p.add_argument("--journals", type=Path, metavar="DIR", help="or the journals that they are in")
    p.add_argument(
        "--sweep",
        type=Path,
        metavar="FILE",
        help="the search behind a backtest: sweep_results.json, or a table in CSV or Parquet",
    )
    p.add_argument(
        "--trials", type=int, metavar="N", help="how many variants were tried before a backtest; a sweep knows"
    )
    p.add_argument("--warm-up", type=int, metavar="BARS", help="what the strategy needs before its first opinion")
    p.add_argument("--strict", action="store_true", help="end with 4 when there are warnings")
    p.add_argument("--json", dest="as_json", action="store_true", help="the findings as JSON")
    return p


def _run(options: argparse.Namespace) -> list[Finding]:
    from backtest.data.run_bars import RecordedData
    from backtest.lint.search_file import is_search, read_search, recorded_data_of, search_of
    from backtest.result_file import EXPECTED, read_json, result_of

    content = read_json(options.result, f"{EXPECTED}, or a sweep's sweep_results.json")
    if is_search(content):
        if options.sweep is not None or options.trials is not None:
            raise ConfigError(
                f"--sweep, --trials: expected with the result of a backtest, got {options.result}, a sweep"
            )
        return lint_search(
            search_of(content, options.result, _series(options, recorded_data_of(content, options.result)))
        )
    result = result_of(content, options.result)
    series = _series(options, RecordedData.of(result))
    names = list(result.config.params) if result.config else []
    return lint(
        result,
        series=series,
        sweep=None if options.sweep is None else read_search(options.sweep, names, series),
        trials=options.trials,
        warm_up=options.warm_up,
    )


def _series(options: argparse.Namespace, recorded: RecordedData) -> list[BarSeries]:
    """The bars of a run, as far as the options name them."""
    if options.journals is None:
        if options.stamp and not options.bars:
            raise ConfigError(
                f"--stamp {options.stamp[0]}: expected --bars with it; journals say when bars begin and end"
            )
        return recorded.read_files(options.bars, options.stamp) if options.bars else []
    if options.bars or options.stamp:
        other = f"--bars {options.bars[0]}" if options.bars else f"--stamp {options.stamp[0]}"
        raise ConfigError(f"--bars, --journals: expected one of them, got --journals {options.journals} and {other}")
    return recorded.read_journals(options.journals)
