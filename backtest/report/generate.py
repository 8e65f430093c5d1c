"""A backtest as one HTML file that needs nothing else: charts, metrics, rules and what to be careful of.

``python -m backtest.report RESULT.json`` writes it beside the result. The same result gives the same bytes; the page
may load nothing from anywhere, and says so to the browser.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backtest.command_line import EXIT_OK, ended_by
from backtest.contracts import BacktestResult
from backtest.result_file import read_result
from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from backtest.data.series import BarSeries

_ASSETS: Final = Path(__file__).parent / "assets"
_MINUS: Final = re.compile(r"(?<![\w.-])-(?=[$\d∞])")


def generate_report(
    result: BacktestResult,
    path: Path,
    *,
    series: BarSeries | Sequence[BarSeries] | None = None,
    sweep: pd.DataFrame | None = None,
    title: str = "",
) -> Path:
    """Write the report of a result.

    Args:
        path: the HTML file; folders are made.
        series: the bars it ran on, one series for each symbol; without them there is no price chart and no benchmark.
        sweep: the parameter sweep that the run was chosen from, best first.
        title: instead of strategy and symbol.

    Returns:
        The path.

    Raises:
        ConfigError: plotly or Jinja2 is missing, or the file cannot be written.
        ContractError: an equity curve that is none.
    """
    page = render(result, _several(series), sweep, title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: expected a file that can be written: {error.strerror or error}") from None
    return path


def render(
    result: BacktestResult, series: Sequence[BarSeries] = (), sweep: pd.DataFrame | None = None, title: str = ""
) -> str:
    """The report as HTML. Raises as ``generate_report``."""
    from backtest.metrics import columns_of, measured_of
    from backtest.metrics.formatting import quote_of
    from backtest.metrics.trades import trades_of
    from backtest.report import charts as report_charts
    from backtest.report import view as report_view
    from backtest.summary import title_of

    trades = trades_of(result.round_trips)
    measured = measured_of(*columns_of(result.equity_curve), trades, initial_capital=result.initial_capital)
    quote = quote_of(result.symbol)
    metrics = {**_metrics_of(result), **result.metrics}
    charts = {**report_charts.chart_data(result, measured, series), "quote": quote}
    merged = [chart["merged"] for chart in charts["prices"]]
    columns, rows, combinations = report_view.sweep_table(sweep, quote) if sweep is not None else ([], [], 0)
    month_names, years = report_view.months(measured)
    page: str = _template().render(
        title=title or title_of(result),
        headline=report_view.headline(result, series),
        subtitle=report_view.subtitle(result),
        cautions=report_view.report_cautions(result, combinations),
        tiles=report_view.tiles(result, metrics, series),
        months=month_names,
        years=years,
        period_of_returns="daily returns" if measured.daily else "returns per bar",
        charts=charts,
        metric_groups=report_view.metric_groups(metrics, quote),
        extremes=report_view.extreme_trades(result),
        rules=report_view.rules(result),
        parameters=report_view.parameters(result),
        fingerprints=report_view.fingerprints(result, _version()),
        method=list(report_view.method(result, measured, series, merged)),
        sweep={"columns": columns, "rows": rows, "combinations": combinations} if columns else None,
        style=_asset("report.css"),
        script=_asset("report.js"),
        data=_packed(json.dumps(charts, separators=(",", ":"), allow_nan=False).encode()),
        plotly=_plotly(),
    )
    return page


def _metrics_of(result: BacktestResult) -> dict[str, float]:
    from backtest.metrics import calculate_metrics

    return calculate_metrics(result.equity_curve, result.round_trips, initial_capital=result.initial_capital)


def _several(series: BarSeries | Sequence[BarSeries] | None) -> Sequence[BarSeries]:
    from backtest.data.series import BarSeries

    if series is None:
        return ()
    if isinstance(series, BarSeries):
        return (series,)
    finest: dict[str, BarSeries] = {}  # of several timeframes of one symbol
    for bars in sorted(series, key=len):
        finest[bars.symbol] = bars
    return [finest[symbol] for symbol in sorted(finest)]


def _template() -> Any:
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise ConfigError("the report needs Jinja2: install njord[research]") from None
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_typeset,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["own"] = Markup  # our own style and script, the only text that goes in as it is
    return environment.get_template("report.html.j2")


def _typeset(value: Any) -> Any:
    """The minus before a number as a minus sign; our own style, script and data stay as they are."""
    return _MINUS.sub("−", value) if type(value) is str else value


def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


@lru_cache(maxsize=1)
def _plotly() -> str:
    package = find_spec("plotly")  # only its script is needed, not half a second of imports
    if package is None or package.origin is None:
        raise ConfigError("the report needs plotly: install njord[research]")
    return _packed((Path(package.origin).parent / "package_data" / "plotly.min.js").read_bytes())


def _packed(content: bytes) -> str:
    """Compressed, as text: the page inflates it. Without a time stamp, so that the same content is the same text."""
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode()


def _version() -> str:
    try:
        return version_of("njord")
    except PackageNotFoundError:
        return "not installed"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns 0, or 1 when there is nothing to report on."""
    return ended_by("report", parser(), _answer, arguments)


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    p = argparse.ArgumentParser(prog="python -m backtest.report", description="Write a backtest's HTML report.")
    p.add_argument("result", type=Path, metavar="RESULT.json", help="a result that the runner saved")
    p.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: the result's name with .html")
    p.add_argument(
        "--bars", type=Path, metavar="FILE", help="CSV, TSV, Feather or Parquet: adds prices and buy-and-hold"
    )
    p.add_argument(
        "--stamp",
        action="append",
        default=[],
        choices=("auto", "open", "close"),
        help="the end of the bars that times in --bars are (default: as the data's checksum tells)",
    )
    p.add_argument("--title", default="", help="instead of strategy and symbol")
    return p


def _answer(options: argparse.Namespace) -> int:
    result = read_result(options.result)
    path = options.output or options.result.with_suffix(".html")
    generate_report(result, path, series=_bars_of(result, options.bars, options.stamp), title=options.title)
    print(f"Report: {path}")
    return EXIT_OK


def _bars_of(result: BacktestResult, path: Path | None, stamps: Sequence[str]) -> BarSeries | None:
    if path is None:
        return None
    from backtest.data.run_bars import RecordedData

    (bars,) = RecordedData.of(result).read_files([path], stamps)
    return bars
