"""``python -m backtest.runner``: one backtest from the command line, its summary on the screen, all of it in files.

Nothing heavy is imported before the arguments are understood, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backtest.command_line import EXIT_OK, ended_by
from backtest.result_file import write_result
from core.console import adapt_console
from core.errors import ConfigError

if TYPE_CHECKING:
    from backtest.contracts import BacktestResult
    from backtest.data.series import BarSeries
    from backtest.run_request import RunRequest

FILL_TIMINGS: Final = ("bar_close", "next_open", "next_trade")
_SHOWN: Final = 12  # characters of a fingerprint
_LONGEST_MS: Final = 86_400_000.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one backtest. Returns 0, or 1 with a sentence on stderr; wrong usage ends the process with 2."""
    return ended_by("backtest", parser(), _answer, argv)


def _answer(arguments: argparse.Namespace) -> int:
    result, files, data = _run(arguments)
    if arguments.as_json:
        print(json.dumps({**result.to_dict(), "files": {name: str(path) for name, path in files.items()}}))
        return EXIT_OK
    from backtest.summary import summary_lines

    print("\n".join([*summary_lines(result), *data, *_details(result), ""]))
    print(f"Equity curve saved to: {files['equity']}")
    print(f"Result saved to:       {files['result']}")
    if "report" in files:
        print(f"Report saved to:       {files['report']}")
    return EXIT_OK


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    p = argparse.ArgumentParser(
        prog="python -m backtest.runner",
        description="Run a strategy over recorded bars or trades. Dates are UTC.",
        epilog="Example: %(prog)s --strategy trendline_break_v1 --symbol ATOM/USDT --start 2025-01-01 "
        "--end 2025-09-30 --capital 10000 --commission 0.001 --slippage 5 --fill next_open",
    )
    run = p.add_argument_group("what to run")
    run.add_argument("--strategy", required=True, metavar="ID", help="id in config/strategies.yaml or of a sample")
    run.add_argument("--class", dest="class_path", metavar="DOTTED.PATH", help="the strategy's class instead")
    run.add_argument("--param", action="append", default=[], type=_parameter, metavar="NAME=VALUE", help="repeatable")
    run.add_argument("--symbol", action="append", required=True, metavar="BASE/QUOTE", help="repeatable")
    run.add_argument("--timeframe", default="1m", metavar="1m[,5m…]", help="bars the strategy gets (default 1m)")
    run.add_argument(
        "--events", type=_globs, metavar="GLOB[,GLOB…]", help="topics the strategy hears, such as md.ohlcv.5m.*"
    )
    run.add_argument("--seed", type=int, default=0, help="recorded with the result")
    data = p.add_argument_group("data")
    data.add_argument(
        "--data", action="append", type=Path, metavar="FILE", help="CSV, TSV, Feather or Parquet, one a symbol"
    )
    data.add_argument(
        "--stamp",
        action="append",
        default=[],
        choices=("auto", "open", "close"),
        help="the end of the bars that times in --data are, once or per file (default: by the column's name)",
    )
    data.add_argument("--journals", type=Path, metavar="DIR", help="journals to read (default: app.log_dir)")
    data.add_argument("--start", type=_start, default=0, metavar="DATE", help="first day, or a time (default: all)")
    data.add_argument("--end", type=_end, default=0, metavar="DATE", help="last day, included; or a time, excluded")
    money = p.add_argument_group("money and fills")
    money.add_argument("--capital", type=float, default=10_000.0, help="cash at the start (default 10000)")
    money.add_argument("--commission", type=float, default=0.001, metavar="RATE", help="0.001 is 0.1%% (default)")
    money.add_argument("--maker-rate", type=float, metavar="RATE", help="of resting orders (default: as --commission)")
    money.add_argument("--slippage", type=float, default=0.0, metavar="BPS", help="of market orders (default 0)")
    money.add_argument("--slippage-model", choices=("fixed", "range", "volume"), default="fixed")
    money.add_argument("--fill", choices=FILL_TIMINGS, default="bar_close", help="when orders fill (default bar_close)")
    money.add_argument("--fill-model", choices=("last_trade", "trade_flow"), default="last_trade", help="of next_trade")
    money.add_argument(
        "--participation", type=float, default=1.0, metavar="SHARE",
        help="of each trade's quantity that orders may take, with trade_flow (default 1)",
    )  # fmt: skip
    money.add_argument(
        "--latency-ms", type=_milliseconds, default=0.0, metavar="MS", help="from decision to venue, with next_trade"
    )
    money.add_argument("--tick-size", type=_step, metavar="STEP", help="of the price, instead of the instrument's")
    money.add_argument("--lot-size", type=_step, metavar="STEP", help="of the quantity, instead of the instrument's")
    money.add_argument("--no-risk", action="store_true", help="let every order pass")
    out = p.add_argument_group("output")
    out.add_argument("--out", type=Path, metavar="DIR", help="folder of the files (default: backtest in app.data_dir)")
    out.add_argument("--json", dest="as_json", action="store_true", help="the whole result as JSON on stdout")
    out.add_argument("--report", action="store_true", help="write an HTML report as well")
    settings = p.add_argument_group("configuration")
    settings.add_argument("--config-root", type=Path, default=Path(), metavar="DIR", help="folder that holds config/")
    settings.add_argument("--config", type=Path, metavar="FILE", help="the base.yaml to read instead")
    return p


def _run(arguments: argparse.Namespace) -> tuple[BacktestResult, dict[str, Path], list[str]]:
    from backtest.engine import run_backtest
    from backtest.run_request import RunRequest

    _check_fill(arguments)
    request = RunRequest.of(arguments)
    result = run_backtest(
        request.config, request.data, request.entrants, instruments=request.instruments, limits=request.limits
    )
    return result, _save(result, request, report=arguments.report), _taken_from(request)


def _check_fill(arguments: argparse.Namespace) -> None:
    """Options that would have no effect. Raises ConfigError."""
    if arguments.fill == "next_trade":
        return
    for option, asked in (
        ("--latency-ms", arguments.latency_ms > 0),
        ("--fill-model", arguments.fill_model != "last_trade"),
    ):
        if asked:
            raise ConfigError(f"{option}: expected --fill next_trade with it, got {arguments.fill}, which knows none")


def _save(result: BacktestResult, request: RunRequest, *, report: bool) -> dict[str, Path]:
    name, folder = request.name, request.folder
    files = {"equity": folder / f"equity_{name}.ndjson", "result": folder / f"result_{name}.json"}
    curve = "".join(f'{{"ts_ns":{ts_ns},"equity":{equity!r}}}\n' for ts_ns, equity in result.equity_curve)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files["equity"].write_text(curve)
        write_result(result, files["result"])
    except OSError as error:
        raise ConfigError(f"{folder}: expected a folder that can be written to: {error.strerror or error}") from None
    if report:
        from backtest.data.series import BarSeries
        from backtest.report import generate_report

        bars = [source for source in request.data if isinstance(source, BarSeries)]
        files["report"] = generate_report(result, folder / f"report_{name}.html", series=bars or None)
    return files


def _taken_from(request: RunRequest) -> list[str]:
    """The bars that were read and their times, so that a misread time column is seen; and the parameters."""
    from backtest.data.series import BarSeries
    from backtest.engine.slots import EVERYTHING

    lines = [_data_line(series) for series in request.data if isinstance(series, BarSeries)]
    topics = sorted({topic for entrant in request.entrants for topic in entrant.events})
    if topics != sorted(EVERYTHING):
        lines.append(f"Hears:          {', '.join(topics)}")
    params = ", ".join(f"{name} {value}" for name, value in sorted(request.config.params.items()))
    return [*lines, f"Parameters:     {params or 'as the strategy has them'}"]


def _data_line(series: BarSeries) -> str:
    from backtest.metrics.formatting import instant

    guess = series.stamp_guess
    reading = "" if guess is None else f"; times of {guess.column} taken for the {guess.stamp} of the bar (--stamp)"
    return (
        f"Data:           {series.symbol} {series.timeframe}, {len(series):,} bars, the first from "
        f"{instant(int(series.ts_open[0]))} to {instant(int(series.ts_close[0]))}, the last one to "
        f"{instant(int(series.ts_close[-1]))}{reading}"
    )


def _details(result: BacktestResult) -> list[str]:
    """The refusals, and the fingerprints of what the result rests on."""
    prints = result.fingerprints
    lines = [f"Bars:           {result.bars:,}"]
    if result.refused:
        lines.append("Refused:        " + ", ".join(f"{count} {code}" for code, count in result.refused.items()))
    return [
        *lines,
        f"Fingerprints:   data {prints.data[:_SHOWN]}, config {prints.config[:_SHOWN]}, code {prints.code[:_SHOWN]}, "
        f"orders {prints.orders[:_SHOWN]}",
    ]


def _globs(text: str) -> tuple[str, ...]:
    globs = tuple(part.strip() for part in text.split(",") if part.strip())
    if not globs:
        raise argparse.ArgumentTypeError(f"expected topics such as md.ohlcv.5m.*, got {text!r}")
    return globs


def _parameter(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE such as fast=10, got {text!r}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _start(text: str) -> int:
    return _nanoseconds(_moment(text))


def _end(text: str) -> int:
    """A day is included, as people mean it; a time is not."""
    return _nanoseconds(_moment(text) + (timedelta(days=1) if len(text) == len("2025-01-01") else timedelta()))


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a date such as 2025-01-31 or a time in ISO 8601, got {text!r}"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _nanoseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def _milliseconds(text: str) -> float:
    try:
        size = float(text)
    except ValueError:
        size = -1.0
    if not 0 <= size <= _LONGEST_MS:
        raise argparse.ArgumentTypeError(f"expected 0 to {_LONGEST_MS:,.0f} milliseconds, got {text!r}")
    return size


def _step(text: str) -> Decimal:
    try:
        step = Decimal(text)
    except InvalidOperation:
        step = Decimal(0)
    if not step.is_finite() or step <= 0:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return step


if __name__ == "__main__":
    adapt_console()
    sys.exit(main())
