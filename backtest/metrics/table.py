"""The table of metrics: each with its name, formula, label, unit, direction, sign and meaning in one entry.

``calculate_metrics``, the report, the command line and the documentation all read it; its order is the order shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from backtest.metrics import drawdown, returns, trades
from backtest.metrics.measured import Measured


class Unit(StrEnum):
    """The unit of a number; ``show`` in ``backtest.metrics.formatting`` writes it."""

    PERCENT = "%"
    FRACTION = "fraction"
    RATIO = "ratio"
    MONEY = "quote currency"
    DAYS = "days"
    HOURS = "hours"
    SECONDS = "s"
    COUNT = "count"
    PER_YEAR = "per year"


class Better(StrEnum):
    """The direction in which a figure improves; ``NONE`` for what is good or bad only beside others."""

    MORE = "more"
    LESS = "less"
    NONE = "none"


class Sign(StrEnum):
    """The sign that a value is shown with: its own minus only, also a plus, or a minus before what is a loss."""

    MINUS_ONLY = "minus only"
    SHOWN = "shown"
    NEGATED = "negated"


class Group(StrEnum):
    """Under which heading a metric is shown."""

    RETURN = "Return"
    RISK = "Risk"
    TRADES = "Trades"
    ACTIVITY = "Activity and cost"


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure, and all that is known of it.

    Attributes:
        better: the direction that a search takes by default.
        of: the formula.
        meaning: one sentence for a reader new to it.
    """

    name: str
    group: Group
    label: str
    unit: Unit
    better: Better
    of: Callable[[Measured], float]
    meaning: str
    sign: Sign = Sign.MINUS_ONLY

    @property
    def is_count(self) -> bool:
        """Whether every value is a whole number."""
        return self.unit is Unit.COUNT


def _total_return_pct(m: Measured) -> float:
    start = float(m.equity[0]) if len(m.equity) else 0.0
    return 100.0 * (float(m.equity[-1]) / start - 1.0) if start > 0 else 0.0


def _cagr_pct(m: Measured) -> float:
    return returns.cagr_pct(float(m.equity[0]), float(m.equity[-1]), m.years) if len(m.equity) else 0.0


def _profit(m: Measured) -> float:
    return float(m.equity[-1] - m.equity[0]) if len(m.equity) else 0.0


def _exposure_pct(m: Measured) -> float:
    if not len(m.ts_ns):
        return 0.0
    return trades.exposure_pct(m.round_trips, int(m.ts_ns[0]), int(m.ts_ns[-1]))


def _turnover(m: Measured) -> float:
    return trades.turnover_annual(m.round_trips, float(m.equity.mean()), m.years) if len(m.equity) else 0.0


def _mean_of(values: returns.Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _median_of(values: returns.Floats) -> float:
    return float(np.median(values)) if len(values) else 0.0


_MORE, _LESS, _NONE = Better.MORE, Better.LESS, Better.NONE
_R, _K, _T, _A = Group.RETURN, Group.RISK, Group.TRADES, Group.ACTIVITY

# fmt: off
METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "total_return_pct", _R, "Total return", Unit.PERCENT, _MORE, _total_return_pct,
        "Final capital over initial capital, less one.", sign=Sign.SHOWN,
    ),
    Metric(
        "cagr_pct", _R, "Annual growth (CAGR)", Unit.PERCENT, _MORE, _cagr_pct,
        "The constant yearly growth that leads from the first to the last capital; says little for short periods.",
        sign=Sign.SHOWN,
    ),
    Metric(
        "net_profit", _R, "Net profit", Unit.MONEY, _MORE, _profit,
        "Final capital less initial capital, after all costs.", sign=Sign.SHOWN,
    ),
    Metric(
        "sharpe_ratio", _R, "Sharpe ratio", Unit.RATIO, _MORE, lambda m: returns.sharpe_ratio(m.returns, m.per_year),
        "Mean return over its standard deviation, annualised, with a riskless rate of zero.",
    ),
    Metric(
        "sortino_ratio", _R, "Sortino ratio", Unit.RATIO, _MORE, lambda m: returns.sortino_ratio(m.returns, m.per_year),
        "Like Sharpe, but only returns below zero count as risk.",
    ),
    Metric(
        "calmar_ratio", _R, "Calmar ratio", Unit.RATIO, _MORE,
        lambda m: returns.ratio(_cagr_pct(m), drawdown.max_drawdown_pct(m.depth)),
        "Annual growth over the deepest drawdown.",
    ),
    Metric(
        "recovery_factor", _R, "Recovery factor", Unit.RATIO, _MORE,
        lambda m: returns.ratio(_profit(m), drawdown.max_drawdown_money(m.equity)),
        "Net profit over the largest loss since a peak, both in money.",
    ),
    Metric(
        "best_day_pct", _R, "Best day", Unit.PERCENT, _MORE, lambda m: returns.best_pct(m.daily_returns),
        "The largest return from UTC midnight to UTC midnight.", sign=Sign.SHOWN,
    ),
    Metric(
        "worst_day_pct", _R, "Worst day", Unit.PERCENT, _MORE, lambda m: returns.worst_pct(m.daily_returns),
        "The smallest return from UTC midnight to UTC midnight.", sign=Sign.SHOWN,
    ),
    Metric(
        "max_drawdown_pct", _K, "Max. drawdown", Unit.PERCENT, _LESS, lambda m: drawdown.max_drawdown_pct(m.depth),
        "The deepest loss since an earlier peak of capital, on every bar, as a share of that peak.", sign=Sign.NEGATED,
    ),
    Metric(
        "max_drawdown_duration_days", _K, "Longest drawdown", Unit.DAYS, _LESS,
        lambda m: drawdown.max_drawdown_duration_days(m.ts_ns, m.equity),
        "The longest time from a peak until it was reached again, or until the end.",
    ),
    Metric(
        "time_in_drawdown_pct", _K, "Time in drawdown", Unit.PERCENT, _LESS,
        lambda m: drawdown.time_in_drawdown_pct(m.ts_ns, m.equity),
        "Share of the time spent below an earlier peak.",
    ),
    Metric(
        "ulcer_index", _K, "Ulcer index", Unit.PERCENT, _LESS, lambda m: drawdown.ulcer_index(m.depth),
        "Root mean square of the drawdown: depth and length of losses in one number.",
    ),
    Metric(
        "volatility_annual_pct", _K, "Volatility", Unit.PERCENT, _LESS,
        lambda m: returns.volatility_annual_pct(m.returns, m.per_year),
        "Standard deviation of returns, annualised.",
    ),
    Metric(
        "value_at_risk_95_pct", _K, "Value at risk (95%)", Unit.PERCENT, _MORE,
        lambda m: returns.value_at_risk_95_pct(m.returns),
        "One period in twenty was worse than this.",
    ),
    Metric(
        "expected_shortfall_95_pct", _K, "Expected shortfall (95%)", Unit.PERCENT, _MORE,
        lambda m: returns.expected_shortfall_95_pct(m.returns),
        "The mean of the worst twentieth of periods.",
    ),
    Metric(
        "tail_ratio", _K, "Tail ratio", Unit.RATIO, _MORE, lambda m: returns.tail_ratio(m.returns),
        "Size of the best twentieth over that of the worst; above one, large gains outweigh large losses.",
    ),
    Metric(
        "skew", _K, "Skewness", Unit.RATIO, _MORE, lambda m: returns.skew(m.returns),
        "Below zero, large losses are more frequent than equally large gains.",
    ),
    Metric(
        "kurtosis", _K, "Excess kurtosis", Unit.RATIO, _LESS, lambda m: returns.excess_kurtosis(m.returns),
        "Above zero, extreme periods are more frequent than a normal distribution has them.",
    ),
    Metric(
        "num_trades", _T, "Trades", Unit.COUNT, _NONE, lambda m: float(m.round_trips.closed.sum()),
        "Closed round trips, from opening a position to closing it.",
    ),
    Metric(
        "win_rate", _T, "Win rate", Unit.FRACTION, _MORE, lambda m: trades.win_rate(m.pnl),
        "Share of trades that made a profit after fees.",
    ),
    Metric(
        "profit_factor", _T, "Profit factor", Unit.RATIO, _MORE, lambda m: trades.profit_factor(m.pnl),
        "Gross profit over gross loss; below one, the trades lost money.",
    ),
    Metric(
        "expectancy", _T, "Expectancy", Unit.MONEY, _MORE, lambda m: trades.expectancy(m.pnl),
        "Mean result of a trade after fees.", sign=Sign.SHOWN,
    ),
    Metric(
        "payoff_ratio", _T, "Payoff ratio", Unit.RATIO, _MORE, lambda m: trades.payoff_ratio(m.pnl),
        "Average win over average loss.",
    ),
    Metric(
        "avg_win", _T, "Average win", Unit.MONEY, _MORE, lambda m: trades.avg_win(m.pnl),
        "Mean profit of the trades that won.",
    ),
    Metric(
        "avg_loss", _T, "Average loss", Unit.MONEY, _MORE, lambda m: trades.avg_loss(m.pnl),
        "Mean loss of the trades that lost.",
    ),
    Metric(
        "largest_win", _T, "Largest win", Unit.MONEY, _MORE, lambda m: trades.largest_win(m.pnl),
        "The best single trade.",
    ),
    Metric(
        "largest_loss", _T, "Largest loss", Unit.MONEY, _MORE, lambda m: trades.largest_loss(m.pnl),
        "The worst single trade.",
    ),
    Metric(
        "longest_winning_streak", _T, "Longest winning streak", Unit.COUNT, _MORE,
        lambda m: trades.longest_streak(m.pnl > 0),
        "Most trades won in a row.",
    ),
    Metric(
        "longest_losing_streak", _T, "Longest losing streak", Unit.COUNT, _LESS,
        lambda m: trades.longest_streak(m.pnl < 0),
        "Most trades lost in a row.",
    ),
    Metric(
        "trades_per_year", _A, "Trades per year", Unit.PER_YEAR, _NONE,
        lambda m: trades.trades_per_year(m.round_trips, m.years),
        "Closed round trips per year at this pace.",
    ),
    Metric(
        "avg_holding_hours", _A, "Average holding time", Unit.HOURS, _NONE,
        lambda m: _mean_of(trades.holding_hours(m.round_trips)),
        "Mean time from opening to closing a position.",
    ),
    Metric(
        "median_holding_hours", _A, "Median holding time", Unit.HOURS, _NONE,
        lambda m: _median_of(trades.holding_hours(m.round_trips)),
        "Half of the positions were held for less.",
    ),
    Metric(
        "exposure_pct", _A, "Exposure", Unit.PERCENT, _NONE, _exposure_pct,
        "Share of the time with a position.",
    ),
    Metric(
        "turnover_annual", _A, "Turnover per year", Unit.RATIO, _LESS, _turnover,
        "Traded value over mean capital, per year; costs grow with it.",
    ),
    Metric(
        "fees_paid", _A, "Fees of the trades", Unit.MONEY, _LESS, lambda m: float(m.round_trips.fees.sum()),
        "Commissions of all round trips, also of one still open; already deducted above.",
    ),
    Metric(
        "return_period_s", _A, "Period of returns", Unit.SECONDS, _NONE, lambda m: m.return_period_s,
        "Risk figures rest on returns of this length: a day, or the bar where the run is shorter than two days.",
    ),
)
"""Every metric, in the order in which a reader wants them."""
# fmt: on

BY_NAME: Final[Mapping[str, Metric]] = {metric.name: metric for metric in METRICS}
