"""The words and tables of the report: headline, tiles, months, metrics, rules. No markup, no charts.

Everything is text, ready to be shown; the template only places it.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backtest.contracts import BacktestConfig, BacktestResult, FillTiming, RoundTrip
from backtest.data.series import BarSeries
from backtest.metrics import Measured
from backtest.metrics.formatting import (
    COINS,
    counted,
    duration,
    minute,
    moment,
    money,
    number,
    percent,
    period,
    quote_of,
    show,
)
from backtest.metrics.returns import DAY_NS, daily_closes
from backtest.metrics.table import BY_NAME, METRICS
from backtest.report.charts import CURVE_BUCKETS, MOST_TRADES, buy_and_hold
from backtest.summary import NO_FIGURE, cautions, fill_rule, refusals, ruined_at, slippage, span_of

if TYPE_CHECKING:
    import pandas as pd

_SHADES: Final = 5
_LISTED: Final = 5
_SWEEP_ROWS: Final = 20


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure of the headline; ``tone`` is gain, loss or empty."""

    label: str
    value: str
    note: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One month of the heat map: its return and how strong its colour is, ``gain1`` to ``loss5``; empty for none."""

    text: str = ""
    shade: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A labelled value with one sentence of what it means."""

    label: str
    value: str
    meaning: str = ""
    caution: bool = False


def headline(result: BacktestResult, series: Sequence[BarSeries]) -> str:
    """The result in one sentence."""
    quote = quote_of(result.symbol)
    became = f"{money(result.initial_capital, quote)} became {money(result.final_capital, quote)}"
    change = f"{percent(result.total_return_pct, signed=True)} after fees"
    if not series:
        return f"{became}: {change}."
    holding = _held_pct(result, series)
    return f"{became}: {change}. Buying at the start and holding: {percent(holding, signed=True)}."


def subtitle(result: BacktestResult) -> str:
    """Which days, how many and on which bars."""
    first, last, days = period(*span_of(result))
    frames = (
        f"{result.bars:,} bars of {', '.join(result.config.timeframes)}" if result.config else f"{result.bars:,} bars"
    )
    return f"{first} to {last} · {counted(days, 'day')} · {frames} · times in UTC"


def tiles(result: BacktestResult, metrics: Mapping[str, float], series: Sequence[BarSeries]) -> list[Tile]:
    """The six figures one looks for first."""
    quote = quote_of(result.symbol)
    holding = f"buy and hold {percent(_held_pct(result, series), signed=True)}" if series else "after all costs"
    total, drawdown = result.total_return_pct, metrics["max_drawdown_duration_days"]
    profit = metrics["net_profit"]
    won, factor, payoff = NO_FIGURE, NO_FIGURE, "no closed trade"
    sound = ruined_at(result) is None
    if result.num_trades:
        won, factor = percent(100 * result.win_rate, decimals=1), number(result.profit_factor)
        payoff = f"payoff {number(metrics['payoff_ratio'])}"
    return [
        Tile("Total return", percent(total, signed=True), holding, _tone(total)),
        Tile("Net profit", _short_money(profit, quote), f"fees {money(result.fees_paid, quote)}", _tone(profit)),
        Tile(
            "Sharpe ratio",
            number(result.sharpe_ratio) if sound else NO_FIGURE,
            f"volatility {percent(metrics['volatility_annual_pct'], decimals=1)}" if sound else "the capital was gone",
        ),
        Tile("Max. drawdown", percent(-result.max_drawdown_pct), f"longest {duration(drawdown * 86_400)}"),
        Tile("Win rate", won, counted(result.num_trades, "closed trade")),
        Tile("Profit factor", factor, payoff),
    ]


def months(measured: Measured) -> tuple[list[str], list[tuple[str, list[Cell], Cell]]]:
    """Names of the months and, for each year, twelve cells and the year as a whole."""
    days, closes = daily_closes(measured.ts_ns, measured.equity)
    if len(days) < 2:
        return [], []
    named = [(at.year, at.month) for at in (moment(day * DAY_NS) for day in days[1:].tolist())]
    returns: dict[tuple[int, int], float | None] = {}
    by_year: dict[int, float | None] = {}
    month_start = year_start = float(closes[0])
    for at, (year, month) in enumerate(named):
        close = float(closes[at + 1])
        returns[year, month] = _change_pct(month_start, close) if month_start > 0 else None
        by_year[year] = _change_pct(year_start, close) if year_start > 0 else None
        following = named[at + 1] if at + 1 < len(named) else (year, month)
        month_start = close if following != (year, month) else month_start
        year_start = close if following[0] != year else year_start
    widest = max((abs(value) for value in returns.values() if value is not None), default=0.0)
    rows = [
        (
            str(year),
            [_cell(returns[year, month], widest) if (year, month) in returns else Cell() for month in range(1, 13)],
            _cell(by_year[year], widest),
        )
        for year in sorted(by_year)
    ]
    return [calendar.month_abbr[month] for month in range(1, 13)], rows


def metric_groups(metrics: Mapping[str, float], quote: str) -> list[tuple[str, list[Row]]]:
    """Every metric of the table under its heading; those it does not know follow under one of their own."""
    groups = [
        (
            str(group),
            [Row(metric.label, show(metric, metrics[metric.name], quote), metric.meaning) for metric in members],
        )
        for group, members in groupby(METRICS, key=lambda metric: metric.group)
    ]
    others = [Row(name, number(value, 4)) for name, value in sorted(metrics.items()) if name not in BY_NAME]
    return [*groups, ("Others", others)] if others else groups


def extreme_trades(result: BacktestResult) -> list[tuple[str, list[tuple[str, ...]]]]:
    """The best and the worst closed round trips, as rows of opened, held, side, entry, exit, result and return."""
    quote = quote_of(result.symbol)
    closed = sorted((trip for trip in result.round_trips if not trip.is_open), key=lambda trip: trip.pnl)
    best, worst = [t for t in closed[::-1] if t.pnl > 0][:_LISTED], [t for t in closed if t.pnl < 0][:_LISTED]
    kinds = (("Largest wins", best), ("Largest losses", worst))
    return [(name, [_trade_row(trip, quote) for trip in trips]) for name, trips in kinds if trips]


def rules(result: BacktestResult) -> list[Row]:
    """Every rule the run followed."""
    config = result.config
    if config is None:
        return [Row("Configuration", "not part of this result", caution=True)]
    quote = quote_of(result.symbol)
    kind = config.fill_timing is FillTiming.BAR_CLOSE
    return [
        Row("Strategy", config.strategy_id),
        Row("Symbols", ", ".join(config.traded)),
        Row("Timeframes", ", ".join(config.timeframes)),
        Row("Initial capital", money(config.initial_capital, quote)),
        Row("Market orders fill", fill_rule(config) + (" (kind)" if kind else ""), caution=kind),
        Row(
            "Commission",
            f"{100 * config.commission_rate:g}% of the value, at every fill",
            caution=not config.commission_rate,
        ),
        Row("Commission of resting orders", _maker(config)),
        Row("Slippage", slippage(config), caution=not config.slippage_bps),
        Row("Latency to the venue", f"{config.latency_ns / 1e6:,g} ms" if config.latency_ns else "none"),
        Row("Risk engine", "on" if config.risk else "off", caution=not config.risk),
        Row("Orders refused", refusals(result), caution=bool(result.refused)),
        Row("Seed", str(config.seed)),
    ]


def parameters(result: BacktestResult) -> list[Row]:
    """The strategy's own parameters, in order of name."""
    params = result.config.params if result.config else {}
    return [Row(str(name), str(params[name])) for name in sorted(params)]


def fingerprints(result: BacktestResult, version: str) -> list[Row]:
    """The checksums that a repetition must reproduce."""
    prints = result.fingerprints
    named = (("Data", prints.data), ("Configuration", prints.config), ("Code", prints.code), ("Orders", prints.orders))
    return [*(Row(f"{name} SHA-256", value or "not recorded") for name, value in named), Row("Version", version)]


def method(
    result: BacktestResult, measured: Measured, series: Sequence[BarSeries], merged: Sequence[int]
) -> Iterator[str]:
    """How the figures and the charts were made, sentence by sentence."""
    if measured.daily:
        yield (
            "Returns run from UTC midnight to UTC midnight; risk figures are annualised by the square root of "
            f"{measured.periods_per_year:g} days. Drawdowns are taken on every bar."
        )
    else:
        length = duration(measured.return_period_s)
        yield f"The run is shorter than two days: risk figures rest on returns over {length}, annualised by its length."
    if len(measured.equity) > 4 * CURVE_BUCKETS:
        yield (
            f"Curves of {len(measured.equity):,} points are drawn by first, lowest, highest and last of each of "
            f"{CURVE_BUCKETS:,} stretches: no peak and no trough is lost."
        )
    for bars, size in zip(series, merged, strict=True):
        if size > 1:
            yield (
                f"{bars.symbol}: {size} bars of {bars.timeframe} are drawn as one, with the highest and the lowest "
                "price of them all."
            )
    if series:
        yield "Buy and hold puts the initial capital in at the first open, without costs."
        yield "Prices show as a band from lowest to highest until few enough bars are in sight for candlesticks."
    if len(result.round_trips) > MOST_TRADES:
        yield f"Of {len(result.round_trips):,} round trips the {MOST_TRADES:,} with the largest results are drawn."


def sweep_table(sweep: pd.DataFrame, quote: str) -> tuple[list[str], list[list[str]], int]:
    """Columns and first rows of a sweep as text, and how many combinations it has."""
    names = [str(name) for name in sweep.columns]
    best = sweep.head(_SWEEP_ROWS).itertuples(index=False, name=None)
    rows = [[_sweep_cell(name, value, quote) for name, value in zip(names, row, strict=True)] for row in best]
    return [BY_NAME[name].label if name in BY_NAME else name for name in names], rows, len(sweep)


def report_cautions(result: BacktestResult, combinations: int) -> list[str]:
    """What the reader is told before any figure."""
    selection = f"Chosen among {combinations:,} combinations of parameters: the best of many looks better than it is."
    return [*cautions(result), *([selection] if combinations > 1 else [])]


def _sweep_cell(name: str, value: Any, quote: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return str(value)
    size = float(value)
    if name in BY_NAME:
        return show(BY_NAME[name], size, quote)
    return f"{size:,.0f}" if size.is_integer() and abs(size) < 1e15 else f"{size:,.4g}"


def _held_pct(result: BacktestResult, series: Sequence[BarSeries]) -> float:
    return _change_pct(result.initial_capital, float(buy_and_hold(result.initial_capital, series)[1][-1]))


def _change_pct(start: float, end: float) -> float:
    return 100.0 * (end / start - 1.0) if start > 0 else 0.0


def _short_money(amount: float, quote: str) -> str:
    """Without cents where they only take room; the exact amount stands among the metrics."""
    rounded = quote not in COINS and abs(amount) >= 100_000
    return (
        money(float(round(amount)), quote, signed=True).replace(".00", "")
        if rounded
        else money(amount, quote, signed=True)
    )


def _tone(value: float) -> str:
    return "gain" if value > 0 else ("loss" if value < 0 else "")


def _cell(value: float | None, widest: float) -> Cell:
    if value is None:  # there was nothing to begin with
        return Cell(NO_FIGURE)
    strength = 1 + round((_SHADES - 1) * min(abs(value) / widest, 1.0)) if widest else 1
    return Cell(percent(value, signed=True, decimals=1), f"{_tone(value)}{strength}" if value else "")


def _trade_row(trip: RoundTrip, quote: str) -> tuple[str, ...]:
    return (
        minute(trip.ts_open),
        duration((trip.ts_close - trip.ts_open) / 1e9),
        "long" if trip.side == "buy" else "short",
        f"{trip.qty:,g}",
        f"{trip.price_open:,.10g}",
        f"{trip.price_close:,.10g}",
        money(trip.pnl, quote, signed=True),
        percent(trip.return_pct, signed=True),
    )


def _maker(config: BacktestConfig) -> str:
    return "the same" if config.maker_rate is None else f"{100 * config.maker_rate:g}% of the value"
