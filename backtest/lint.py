"""Lint my backtest: ``python -m backtest.lint RESULT.json`` says in plain words why not to believe it yet.

The rules are in ``lint_rules``; nothing heavy is imported before it is needed, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from backtest.command_line import EXIT_BAD, EXIT_OK, ended_by
from backtest.lint_finding import Finding, Severity
from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from backtest.contracts import BacktestResult
    from backtest.lint_case import Rerun
    from backtest.series import BarSeries

__all__ = ["Finding", "Severity", "lint", "lint_lines", "main", "read_result"]

_WORDS: Final = {Severity.SERIOUS: "serious", Severity.WARNING: "warning", Severity.INFO: "note"}


def lint(
    result: BacktestResult,
    *,
    series: BarSeries | Iterable[BarSeries] | None = None,
    sweep: pd.DataFrame | None = None,
    trials: int | None = None,
    rerun: Rerun | None = None,
    warm_up: int | None = None,
) -> list[Finding]:
    """Everything that speaks against a result, the worst first. What is left out silences the rules that need it.

    Args:
        result: the run.
        series: the bars it ran on.
        sweep: the table of the search that its parameters came from, a row per set.
        trials: how many variants were tried in all, sweeps and earlier attempts included.
        rerun: from a configuration to the result of the same strategy on the same data; asked for doubled costs.
        warm_up: bars that the strategy needs before its first opinion.
    """
    from backtest.lint_case import Case
    from backtest.lint_rules import RULES
    from backtest.series import BarSeries

    bars = () if series is None else (series,) if isinstance(series, BarSeries) else tuple(series)
    case = Case(result, bars, sweep, trials, rerun, warm_up)
    found = [finding for rule in RULES for finding in rule(case)]
    return sorted(found, key=lambda finding: -finding.severity)


def lint_lines(findings: Sequence[Finding]) -> list[str]:
    """For a terminal."""
    if not findings:
        return ["Nothing speaks against this result that could be seen in it."]
    counts = ", ".join(
        f"{sum(finding.severity is severity for finding in findings)} {word}"
        for severity, word in _WORDS.items()
        if any(finding.severity is severity for finding in findings)
    )
    lines = [f"{len(findings)} findings: {counts}"]
    for finding in findings:
        lines += [f"{_WORDS[finding.severity]:>8}  {finding.text}", f"{'':<8}  → {finding.advice} [{finding.rule}]"]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, 1 with a sentence on stderr, or 4 with ``--strict`` and warnings; wrong usage ends with 2."""
    return ended_by("lint", parser(), _answer, arguments)


def _answer(chosen: argparse.Namespace) -> int:
    findings = _run(chosen)
    if chosen.as_json:
        print(json.dumps([{**asdict(each), "severity": _WORDS[each.severity]} for each in findings]))
    else:
        print("\n".join(lint_lines(findings)))
    bad = any(finding.severity >= Severity.WARNING for finding in findings)
    return EXIT_BAD if chosen.strict and bad else EXIT_OK


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    p = argparse.ArgumentParser(
        prog="python -m backtest.lint",
        description="Say in plain words what speaks against the result of a backtest.",
        epilog="Example: %(prog)s data/backtest/result_sma_cross_v1_BTCUSD.json --bars btc_1m.csv.gz "
        "--trials 200 --strict",
    )
    p.add_argument("result", type=Path, metavar="RESULT.json", help="as backtest.runner saves it")
    p.add_argument("--bars", type=Path, action="append", default=[], metavar="FILE", help="the bars, one file a symbol")
    p.add_argument("--sweep", type=Path, metavar="FILE", help="CSV or Parquet table of the search")
    p.add_argument("--trials", type=int, metavar="N", help="how many variants were tried in all")
    p.add_argument("--warm-up", type=int, metavar="BARS", help="what the strategy needs before its first opinion")
    p.add_argument("--strict", action="store_true", help="end with 4 when there are warnings")
    p.add_argument("--json", dest="as_json", action="store_true", help="the findings as JSON")
    return p


def _run(chosen: argparse.Namespace) -> list[Finding]:
    result = read_result(chosen.result)
    return lint(
        result,
        series=_series(chosen.bars, result),
        sweep=None if chosen.sweep is None else _table(chosen.sweep),
        trials=chosen.trials,
        warm_up=chosen.warm_up,
    )


def read_result(path: Path) -> BacktestResult:
    """A saved result. Raises ConfigError."""
    from backtest.contracts import BacktestResult

    try:
        return BacktestResult.from_dict(json.loads(path.read_text()))
    except OSError as error:
        raise ConfigError(f"{path}: expected the result of a backtest: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected a result as backtest.runner saves it, got something else: {error}"
        ) from None


def _series(files: Sequence[Path], result: BacktestResult) -> list[BarSeries]:
    from backtest.series import from_file

    symbols = result.config.traded if result.config else (result.symbol,)
    timeframe = result.config.timeframes[0] if result.config else "1m"
    if len(files) > len(symbols):
        raise ConfigError(f"--bars: expected at most one file for each of {', '.join(symbols)}, got {len(files)}")
    found = [from_file(file, symbol, timeframe) for file, symbol in zip(files, symbols, strict=False)]
    start, end = (result.config.start_ts, result.config.end_ts) if result.config else (0, 0)
    return [each.between(start, end) if start or end else each for each in found]


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.is_file():
        raise ConfigError(f"{path}: expected a CSV or Parquet table with a row per set of parameters")
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)


if __name__ == "__main__":
    sys.exit(main())
