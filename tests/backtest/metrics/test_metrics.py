"""Metrics against hand-computed cases, against an independent library, and at the edges where formulas end."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest.metrics import UNBOUNDED, calculate_metrics, measure
from backtest.metrics.returns import Floats, daily_closes
from backtest.metrics.table import BY_NAME, METRICS
from core.errors import ContractError
from tests.support.backtests.results import DAY_NS, MINUTE_NS, START_NS, curve_of, trip

SPECIFIED = {
    "total_return_pct", "sharpe_ratio", "max_drawdown_pct", "max_drawdown_duration_days", "volatility_annual_pct",
    "calmar_ratio", "win_rate", "profit_factor", "avg_win", "avg_loss", "largest_win", "largest_loss",
}  # fmt: skip


def empyrical() -> Any:
    """The independent library; its own imports warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("empyrical")


def moments() -> Any:
    """Skewness and kurtosis by another hand."""
    return pytest.importorskip("scipy.stats")


def random_days(seed: int) -> Floats:
    """A year or so of daily returns with fat tails."""
    rng = np.random.default_rng(seed)
    days: Floats = rng.standard_t(4, 200 + seed * 17) * 0.01 + 0.0004
    return days


def test_every_metric_of_the_specification_is_there_and_the_table_names_each_once() -> None:
    assert set(calculate_metrics(curve_of(1.0, 2.0))) >= SPECIFIED
    assert len(BY_NAME) == len(METRICS)
    assert list(calculate_metrics([])) == [metric.name for metric in METRICS]


def test_a_curve_of_four_days_gives_the_figures_computed_by_hand() -> None:
    # Returns +10 %, -20 %, +25 %: mean 0.05, deviations 0.05, -0.25, 0.20, sample variance 0.105 / 2.
    metrics = calculate_metrics(curve_of(100.0, 110.0, 88.0, 110.0))

    assert metrics["total_return_pct"] == pytest.approx(10.0)
    assert metrics["net_profit"] == 10.0
    assert metrics["sharpe_ratio"] == pytest.approx(0.05 / math.sqrt(0.0525) * math.sqrt(365))
    assert metrics["sortino_ratio"] == pytest.approx(0.05 / math.sqrt(0.04 / 3) * math.sqrt(365))
    assert metrics["volatility_annual_pct"] == pytest.approx(100 * math.sqrt(0.0525) * math.sqrt(365))
    assert metrics["max_drawdown_pct"] == pytest.approx(20.0)
    assert metrics["max_drawdown_duration_days"] == 2.0
    assert metrics["time_in_drawdown_pct"] == pytest.approx(100 / 3)
    assert metrics["ulcer_index"] == pytest.approx(math.sqrt(400 / 4))
    assert metrics["cagr_pct"] == pytest.approx(100 * (1.1 ** (365 / 3) - 1))
    assert metrics["calmar_ratio"] == pytest.approx(metrics["cagr_pct"] / 20)
    assert metrics["recovery_factor"] == pytest.approx(10 / 22)
    assert (metrics["best_day_pct"], metrics["worst_day_pct"]) == pytest.approx((25.0, -20.0))
    assert metrics["return_period_s"] == 86_400


def test_round_trips_give_the_figures_computed_by_hand() -> None:
    trips = [
        trip(30.0, hour=0, hours=1, fees=1.0),
        trip(10.0, hour=2, hours=2, fees=1.0),
        trip(-20.0, hour=5, hours=3, fees=2.0),
        trip(0.0, hour=10, hours=6),
        trip(500.0, hour=40, hours=8, fees=0.5, is_open=True),
    ]
    metrics = calculate_metrics(curve_of(100.0, 130.0, 120.0), trips)

    assert metrics["num_trades"] == 4
    assert metrics["win_rate"] == 0.5
    assert metrics["profit_factor"] == 2.0
    assert (metrics["avg_win"], metrics["avg_loss"]) == (20.0, -20.0)
    assert (metrics["largest_win"], metrics["largest_loss"]) == (30.0, -20.0)
    assert metrics["payoff_ratio"] == 1.0
    assert metrics["expectancy"] == 5.0
    assert (metrics["longest_winning_streak"], metrics["longest_losing_streak"]) == (2, 1)
    assert (metrics["avg_holding_hours"], metrics["median_holding_hours"]) == (3.0, 2.5)
    assert metrics["exposure_pct"] == pytest.approx(100 * 20 / 48)
    assert metrics["fees_paid"] == 4.5
    assert metrics["trades_per_year"] == pytest.approx(4 * 365 / 2)
    traded = 9 * 40_000 + 30 + 10 - 20
    assert metrics["turnover_annual"] == pytest.approx(traded / (350 / 3) * 365 / 2)


@pytest.mark.parametrize("seed", range(8))
def test_figures_on_returns_are_those_of_an_independent_library(seed: int) -> None:
    judge, days = empyrical(), random_days(seed)
    metrics = calculate_metrics(curve_of(*(1e5 * np.concatenate(([1.0], np.cumprod(1 + days))))))

    expected = {
        "total_return_pct": 100 * judge.cum_returns_final(days),
        "cagr_pct": 100 * judge.cagr(days, annualization=365),
        "sharpe_ratio": judge.sharpe_ratio(days, annualization=365),
        "sortino_ratio": judge.sortino_ratio(days, annualization=365),
        "volatility_annual_pct": 100 * judge.annual_volatility(days, annualization=365),
        "max_drawdown_pct": -100 * judge.max_drawdown(days),
        "calmar_ratio": judge.calmar_ratio(days, annualization=365),
        "tail_ratio": judge.tail_ratio(days),
        "value_at_risk_95_pct": 100 * judge.value_at_risk(days),
        "expected_shortfall_95_pct": 100 * judge.conditional_value_at_risk(days),
        "skew": moments().skew(days),
        "kurtosis": moments().kurtosis(days),
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_daily_returns_of_a_minute_curve_are_those_of_its_midnights(seed: int) -> None:
    judge, rng = empyrical(), np.random.default_rng(seed)
    minutes = 1e5 * np.exp(np.cumsum(rng.normal(0, 1e-4, 10 * 1440)))
    ts_ns = START_NS + np.arange(1, len(minutes) + 1) * MINUTE_NS
    midnights = np.concatenate(([1e5], minutes[1439::1440]))

    metrics = measure(ts_ns, minutes, initial_capital=1e5)

    assert metrics["sharpe_ratio"] == pytest.approx(
        judge.sharpe_ratio(np.diff(midnights) / midnights[:-1], annualization=365), rel=1e-9
    )
    drawdown = judge.max_drawdown(np.diff(np.concatenate(([1e5], minutes))) / np.concatenate(([1e5], minutes[:-1])))
    assert metrics["max_drawdown_pct"] == pytest.approx(-100 * drawdown, rel=1e-9)


def test_a_day_without_points_keeps_its_value_and_counts_as_a_return_of_zero() -> None:
    curve = [point for day, point in enumerate(curve_of(100.0, 110.0, 115.0, 121.0)) if day != 2]
    ts_ns, equity = (np.array(column) for column in zip(*curve, strict=True))
    assert daily_closes(ts_ns, equity)[1].tolist() == [100.0, 110.0, 110.0, 121.0]


def test_midnight_belongs_to_the_day_that_ends_there_and_parts_of_days_count() -> None:
    hours = np.array([18, 23, 24, 25, 48, 60]) * 60 * MINUTE_NS + START_NS
    days, closes = daily_closes(hours, np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert closes.tolist() == [1.0, 3.0, 5.0, 6.0]
    assert (days - START_NS // DAY_NS).tolist() == [-1, 0, 1, 2]


def test_points_at_noon_are_one_return_a_day() -> None:
    noon = curve_of(100.0, 110.0, 121.0, start_ns=START_NS + DAY_NS // 2)
    assert daily_closes(*(np.array(column) for column in zip(*noon, strict=True)))[1].tolist() == [100.0, 110.0, 121.0]


def test_a_curve_shorter_than_two_days_is_judged_by_its_bars_and_says_so() -> None:
    curve = [(START_NS + at * 5 * MINUTE_NS, value) for at, value in enumerate((100.0, 101.0, 99.99, 102.0))]
    metrics = calculate_metrics(curve)
    returns = np.diff([value for _, value in curve]) / [value for _, value in curve[:-1]]
    assert metrics["return_period_s"] == 300
    assert metrics["sharpe_ratio"] == pytest.approx(returns.mean() / returns.std(ddof=1) * math.sqrt(365 * 288))


def test_the_initial_capital_comes_before_the_first_point() -> None:
    metrics = calculate_metrics(curve_of(90.0, 99.0, 99.0), initial_capital=100.0)
    assert metrics["total_return_pct"] == pytest.approx(-1.0)
    assert metrics["max_drawdown_pct"] == pytest.approx(10.0)
    assert metrics["worst_day_pct"] == pytest.approx(-10.0)


def test_other_markets_have_other_years() -> None:
    curve = curve_of(100.0, 110.0, 88.0, 110.0)
    crypto, shares = calculate_metrics(curve), calculate_metrics(curve, periods_per_year=252)
    assert shares["sharpe_ratio"] / crypto["sharpe_ratio"] == pytest.approx(math.sqrt(252 / 365))


def test_without_trips_the_moves_of_the_curve_are_won_and_lost() -> None:
    metrics = calculate_metrics(curve_of(100.0, 130.0, 130.0, 120.0))
    assert (metrics["win_rate"], metrics["profit_factor"], metrics["num_trades"]) == (0.5, 3.0, 0)


def test_no_trades_are_zeros() -> None:
    metrics = calculate_metrics(curve_of(100.0, 100.0, 100.0), [])
    assert {name: value for name, value in metrics.items() if value} == {"return_period_s": 86_400}


def test_all_wins_are_a_ratio_without_bound_and_all_losses_one_of_zero() -> None:
    curve = curve_of(100.0, 110.0, 121.0)
    wins = calculate_metrics(curve, [trip(1.0), trip(2.0)])
    losses = calculate_metrics(curve, [trip(-1.0), trip(-2.0)])
    assert (wins["win_rate"], wins["profit_factor"], wins["payoff_ratio"]) == (1.0, UNBOUNDED, UNBOUNDED)
    assert (wins["avg_loss"], wins["largest_loss"], wins["longest_losing_streak"]) == (0, 0, 0)
    assert (losses["win_rate"], losses["profit_factor"], losses["payoff_ratio"]) == (0.0, 0.0, 0.0)
    assert (losses["avg_win"], losses["largest_win"], losses["longest_losing_streak"]) == (0, 0, 2)


def test_growth_without_variation_has_no_sharpe_ratio_and_no_drawdown() -> None:
    metrics = calculate_metrics(curve_of(*(100.0 * 1.01**day for day in range(30))))
    assert (metrics["sharpe_ratio"], metrics["volatility_annual_pct"], metrics["skew"]) == (0, 0, 0)
    assert (metrics["max_drawdown_pct"], metrics["max_drawdown_duration_days"]) == (0, 0)
    assert metrics["calmar_ratio"] == UNBOUNDED


@pytest.mark.parametrize("curve", [[], [(START_NS, 100.0)], [(START_NS, 0.0)]])
def test_no_curve_and_one_point_are_zeros(curve: list[tuple[int, float]]) -> None:
    assert not any(calculate_metrics(curve, []).values())


def test_a_lost_capital_is_a_drawdown_of_all_and_a_debt_of_more() -> None:
    lost = calculate_metrics(curve_of(100.0, 50.0, 0.0, 0.0))
    assert (lost["total_return_pct"], lost["max_drawdown_pct"], lost["cagr_pct"]) == (-100, 100, -100)
    assert lost["worst_day_pct"] == -100
    debt = calculate_metrics(curve_of(100.0, -50.0, 20.0))
    assert debt["max_drawdown_pct"] == 150
    assert debt["best_day_pct"] == 0


def test_a_drawdown_that_is_never_recovered_lasts_to_the_end() -> None:
    assert calculate_metrics(curve_of(100.0, 120.0, 90.0, 110.0, 119.0))["max_drawdown_duration_days"] == 3.0


def test_positions_that_overlap_are_exposed_once() -> None:
    trips = [trip(1.0, hour=0, hours=12), trip(1.0, hour=6, hours=3), trip(1.0, hour=10, hours=14)]
    assert calculate_metrics(curve_of(100.0, 101.0, 102.0), trips)["exposure_pct"] == pytest.approx(50.0)


@given(
    st.lists(st.floats(-1e300, 1e300) | st.floats(-10, 10), max_size=40),
    st.lists(st.floats(-1e9, 1e9), max_size=10),
    st.integers(1, 2 * DAY_NS),
)
def test_any_finite_curve_gives_finite_figures_that_survive_json(
    values: list[float], pnls: list[float], step_ns: int
) -> None:
    curve = [(START_NS + at * step_ns, value) for at, value in enumerate(values)]
    metrics = calculate_metrics(curve, [trip(pnl) for pnl in pnls])
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_a_capital_that_is_no_number_and_times_that_run_back_are_refused() -> None:
    with pytest.raises(ContractError, match=r"equity_curve\[1\]: expected a finite capital, got nan"):
        calculate_metrics(curve_of(1.0, math.nan))
    with pytest.raises(ContractError, match=r"equity_curve\[1\]: expected a time at or after"):
        calculate_metrics([(2, 1.0), (1, 1.0)])
