"""The report: one file that needs nothing else, says everything, and draws without a complaint in a real browser."""

from __future__ import annotations

import base64
import gzip
import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

from backtest.contracts import BacktestResult, FillTiming, Fingerprints
from backtest.metrics import UNBOUNDED, measured_of
from backtest.metrics.formatting import duration, money, number, percent, period, show
from backtest.metrics.table import BY_NAME, METRICS
from backtest.report import generate_report, main, render
from backtest.report.charts import buy_and_hold, coarser, histogram, thinned
from backtest.report.view import months
from backtest.summary import summary_lines
from core.errors import ConfigError
from tests.support.backtests.results import CAPITAL, DAY_NS, MINUTE_NS, START_NS, curve_of, result_of, series_of, trip

pytest.importorskip("plotly")
pytest.importorskip("jinja2")

_VOID: Final = {"meta", "br", "img", "input", "hr", "link"}
_CHARTS: Final = ("capital", "price-0", "returns", "trips", "holding", "exposure", "sharpe", "volatility")


class Structure(HTMLParser):
    """Elements opened and closed in order, every id, and all text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.described: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if len(given) < len(attrs):
            self.faults.append(f"an attribute twice on {tag}")
        self.ids += [given["id"] or ""] if "id" in given else []
        self.described += [given["aria-describedby"] or ""] if "aria-describedby" in given else []
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += f"{data} "


def charts_of(page: str) -> dict[str, Any]:
    """The numbers that the page carries for its charts."""
    packed = re.search(r'id="data">([^<]*)<', page)
    assert packed is not None
    plain: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    return plain


def years_of_hours() -> tuple[BacktestResult, str]:
    series = series_of(24 * 400, minutes=60)
    result = result_of(series, every=60)
    return result, render(result, [series])


def test_the_report_is_one_valid_file_that_refers_to_nothing_outside(tmp_path: Path) -> None:
    series = series_of(3_000)
    page = generate_report(result_of(series), tmp_path / "new" / "report.html", series=series).read_text("utf-8")
    structure = Structure(page)
    assert (structure.faults, structure.open) == ([], [])
    assert len(structure.ids) == len(set(structure.ids))
    assert set(structure.described) <= set(structure.ids)
    assert not re.search(r"https?:|//[a-z]+\.|src=|href=|@import|url\(", page)
    assert "default-src 'none'" in page


def test_the_same_result_gives_the_same_bytes() -> None:
    series = series_of(1_500)
    assert render(result_of(series), [series]) == render(result_of(series), [series])


def test_every_metric_stands_there_with_label_value_and_meaning() -> None:
    result = result_of()
    text = Structure(render(result)).text.replace("−", "-")
    for metric in METRICS:
        assert metric.label in text
        assert metric.meaning in text
        assert show(metric, result.metrics[metric.name], "USD") in text


def test_every_rule_parameter_and_checksum_stands_there() -> None:
    text = Structure(render(result_of(refused={"RATE_LIMIT": 3, "PER_ORDER_CAP": 1_204}))).text
    for expected in (
        "1,204 PER_ORDER_CAP, 3 RATE_LIMIT",
        "at the open of the bar after the one that led to the order", "0.04% of the value, at every fill",
        "1 bps against every market order", "c0" * 32, "de" * 32, "0a" * 32, "fast", "slow", "$100,000.00",
    ):  # fmt: skip
        assert expected in text


def test_all_charts_are_there_when_their_figures_are() -> None:
    _, page = years_of_hours()
    assert set(_CHARTS) <= set(Structure(page).ids)
    charts = charts_of(page)
    assert all(charts[name] for name in ("equity", "drawdown", "benchmark", "prices", "trades", "rolling", "exposure"))


def test_without_bars_there_is_neither_a_price_chart_nor_a_benchmark() -> None:
    page = render(result_of())
    assert "price-0" not in Structure(page).ids
    assert charts_of(page)["benchmark"] is None
    assert "Buying at the start" not in page


def test_warnings_come_before_the_figures_and_name_a_kind_fill() -> None:
    result = result_of(warnings=("3 gaps in the data.",))
    assert result.config is not None
    kind = replace(result, config=replace(result.config, fill_timing=FillTiming.BAR_CLOSE))
    text = Structure(render(kind)).text
    assert 0 < text.index("3 gaps in the data.") < text.index("are kind") < text.index("became")
    assert "are kind" not in Structure(render(result)).text


def test_of_several_timeframes_of_a_symbol_the_finest_is_drawn(tmp_path: Path) -> None:
    fine, coarse = series_of(600), series_of(120, minutes=5)
    page = generate_report(result_of(fine), tmp_path / "report.html", series=[fine, coarse]).read_text("utf-8")
    assert page == render(result_of(fine), [fine])


def test_text_of_others_is_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    result = result_of(warnings=(evil,), strategy_id=evil, fingerprints=Fingerprints(data=evil))
    page = render(result, title=evil)
    assert evil not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3


@pytest.mark.parametrize(
    "curve", [[], curve_of(100.0), curve_of(100.0, 100.0, 100.0), curve_of(100.0, -20.0, 0.0), curve_of(100.0, 90.0)]
)
def test_a_result_with_next_to_nothing_in_it_has_a_report(curve: list[tuple[int, float]]) -> None:
    bare = BacktestResult("s", "ETH/BTC", 0, 0, 100.0, 100.0, 0.0, 0.0, 0.0, 0, 0.0, 0.0, curve)
    structure = Structure(render(bare))
    assert (structure.faults, structure.open) == ([], [])
    assert "not part of this result" in structure.text
    assert summary_lines(bare)[0] == "Backtest Results: s on ETH/BTC"


def test_a_sweep_shows_its_best_rows_and_warns_of_choosing_among_many() -> None:
    sweep = pd.DataFrame({"fast": range(50), "sharpe_ratio": [2.0 - row / 7 for row in range(50)]})
    text = Structure(render(result_of(), sweep=sweep)).text
    assert "Chosen among 50 combinations" in text
    assert "the first 20 shown" in text
    assert "Sharpe ratio" in text[text.index("Parameter sweep") :]


def test_thinning_keeps_the_ends_and_every_extreme() -> None:
    values = np.cumsum(np.random.default_rng(3).normal(size=100_000))
    kept = thinned(values, buckets=100)
    assert len(kept) <= 400
    assert {0, len(values) - 1, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())
    edges = np.linspace(0, len(values), 101).astype(int)
    for first, end in pairwise(edges):
        inside = values[kept[(kept >= first) & (kept < end)]]
        assert (inside.min(), inside.max()) == (values[first:end].min(), values[first:end].max())


def test_bars_drawn_as_one_keep_the_highest_the_lowest_and_both_ends() -> None:
    series = series_of(1_001)
    merged, size = coarser(series, most=200)
    assert (size, len(merged)) == (6, 167)
    assert merged.high[0] == series.high[:6].max()
    assert merged.low[-1] == series.low[996:].min()
    assert (merged.open[0], merged.close[-1]) == (series.open[0], series.close[-1])
    assert merged.volume.sum() == series.volume.sum()


def test_buy_and_hold_divides_the_capital_among_the_symbols() -> None:
    one, other = series_of(10, seed=1), series_of(10, seed=2, symbol="ETH/USD")
    _, worth = buy_and_hold(100.0, [one, other])
    assert worth[-1] == pytest.approx(50 * one.close[-1] / one.open[0] + 50 * other.close[-1] / other.open[0])


def test_no_bin_of_a_histogram_holds_both_gains_and_losses() -> None:
    values = np.array([-1.9, -0.01, 0.01, 0.4, 3.0])
    bins = histogram(values)
    assert bins is not None
    assert sum(bins["counts"]) == len(values)
    assert bins["start"] / bins["width"] == pytest.approx(round(bins["start"] / bins["width"]))
    assert histogram(np.array([5.0, 5.0])) is not None


def test_what_did_not_change_is_counted_and_not_drawn() -> None:
    bins = histogram(np.array([0.0, 0.0, 1.0, -1.0]))
    assert bins is not None
    assert (bins["flat"], sum(bins["counts"])) == (2, 2)
    assert histogram(np.zeros(3)) is None
    assert histogram(np.empty(0)) is None


def test_months_multiply_to_the_year_and_the_year_to_the_total() -> None:
    days = np.asarray(1e5 * np.cumprod(1 + np.random.default_rng(5).normal(0, 0.01, 420)), dtype=np.float64)
    measured = measured_of(START_NS + np.arange(420) * DAY_NS, days)
    names, years = months(measured)
    assert (names[0], [year for year, _, _ in years]) == ("Jan", ["2022", "2023"])
    whole = math.prod(1 + float(year.text.rstrip("%")) / 100 for _, _, year in years)
    assert whole == pytest.approx(days[-1] / days[0], abs=2e-3)
    january = days[31] / days[0] - 1  # the midnight after the 31st
    assert years[0][1][0].text == percent(100 * january, signed=True, decimals=1)


def test_numbers_read_as_people_write_them() -> None:
    assert money(-1234.5, "USDT") == "-$1,234.50"
    assert money(0.5, "BTC", signed=True) == "+0.50000000 BTC"
    assert money(-0.001, "USD") == "$0.00"
    assert percent(24.5, signed=True) == "+24.50%"
    assert percent(-0.001) == "0.00%"
    assert number(UNBOUNDED) == "∞"
    assert [duration(seconds) for seconds in (30, 900, 7_200, 864_000)] == ["30 s", "15 min", "2.0 h", "10.0 days"]
    assert show(BY_NAME["max_drawdown_pct"], 8.234, "USD") == "-8.23%"
    assert period(START_NS, START_NS + 31 * DAY_NS) == ("2022-01-01", "2022-01-31", 31)


def test_the_summary_has_the_lines_of_the_specification() -> None:
    result = result_of(
        total_return_pct=24.5032, sharpe_ratio=1.852, max_drawdown_pct=8.23, num_trades=47, win_rate=0.638,
        profit_factor=2.14, initial_capital=10_000.0, final_capital=12_450.32, start_ts=START_NS,
        end_ts=START_NS + 273 * DAY_NS, fees_paid=12.5, strategy_id="trendline_break_v1",
        round_trips=(trip(1.0, qty=0.1),),
    )  # fmt: skip
    assert summary_lines(result) == [
        "Backtest Results: trendline_break_v1 on BTC/USD",
        "---------------------------------------------",
        "Period:         2022-01-01 → 2022-09-30 (273 days)",
        "Initial:        $10,000.00",
        "Final:          $12,450.32",
        "Total Return:   +24.50%",
        "Sharpe Ratio:   1.85",
        "Max Drawdown:   -8.23%",
        "Trades:         47 (win rate: 63.8%)",
        "Profit Factor:  2.14",
        "Fees:           $12.50 (0.04% per fill)",
        "Fills:          at the open of the bar after the one that led to the order",
        "Slippage:       1 bps against every market order",
    ]


def test_the_summary_ends_with_the_warnings() -> None:
    result = result_of(warnings=("3 gaps in the data.",), denied=2)
    assert [line[16:] for line in summary_lines(result) if line.startswith("Warning:")] == [
        "3 gaps in the data.",
        "Only 1.4 days: annualised figures say little.",
        "Only 26 trades: chance explains a lot.",
        "2 orders were denied by the risk engine.",
        "A position was open at the end; it counts at the last price, without the cost of closing it.",
    ]


def test_the_command_writes_the_report_beside_a_saved_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    series, saved = series_of(600), tmp_path / "result.json"
    saved.write_text(json.dumps(result_of(series).to_dict()))
    bars = tmp_path / "bars.csv"
    columns = ("open", "high", "low", "close", "volume")
    pd.DataFrame({"ts_open": series.ts_open, **{name: getattr(series, name) for name in columns}}).to_csv(bars)
    assert main([str(saved)]) == 0
    assert main([str(saved), "-o", str(tmp_path / "other.html"), "--bars", str(bars)]) == 0
    assert capsys.readouterr().out == f"Report: {tmp_path / 'result.html'}\nReport: {tmp_path / 'other.html'}\n"
    assert (tmp_path / "result.html").read_text("utf-8") == render(result_of(series))
    assert (tmp_path / "other.html").read_text("utf-8") == render(result_of(series), [series])


@pytest.mark.parametrize("content", [None, "{}", "not JSON", "[1]", '{"equity_curve": 3}'])
def test_the_command_says_which_file_is_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    path = tmp_path / "result.json"
    if content is not None:
        path.write_text(content)
    assert main([str(path)]) == 1
    assert f"report: {path}: expected a backtest's result, as `njord-ctl backtest` saves it" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"report\.html: expected a file that can be written"):
        generate_report(result_of(), tmp_path / "file" / "report.html")


@pytest.mark.full
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_a_real_browser_draws_every_chart_without_a_complaint_or_a_request(
    tmp_path: Path, width: int, scheme: str
) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    path = tmp_path / "report.html"
    path.write_text(years_of_hours()[1], encoding="utf-8")
    heard: list[str] = []
    with sync_api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("request", lambda request: heard.append(request.url) if request.url != path.as_uri() else None)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn]", state="attached")
        drawn = page.evaluate(
            "[...document.querySelectorAll('.chart')].filter((c) => c.querySelector('svg')).map((c) => c.id)"
        )
        page.click("[data-scale=log]")
        scale = page.evaluate("document.getElementById('capital').layout.yaxis.type")
        first, step = START_NS // 1_000_000, 60 * MINUTE_NS // 1_000_000
        zoom = {"xaxis.range[0]": first + 100 * step, "xaxis.range[1]": first + 200 * step}
        page.evaluate("(zoom) => Plotly.relayout('capital', zoom)", zoom)
        kinds = page.evaluate("document.getElementById('price-0').data.map((trace) => trace.type)")
        too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        browser.close()
    assert heard == []
    assert set(drawn) == set(_CHARTS)
    assert (scale, kinds[0]) == ("log", "candlestick")
    assert too_wide <= 0


def test_capital_of_the_made_up_runs_follows_from_their_trades() -> None:
    result = result_of(series_of(5_000))
    assert result.final_capital == pytest.approx(CAPITAL + sum(each.pnl for each in result.round_trips))
