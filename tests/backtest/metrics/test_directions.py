"""The direction of every metric, judged by its meaning: a better run has a better figure."""

from __future__ import annotations

from typing import Any, Final

import pytest

from backtest.metrics import calculate_metrics
from backtest.metrics.table import METRICS, Better, Group, Metric, Unit
from backtest.sweep.results.columns import COLUMNS, direction_of
from core.errors import ConfigError
from tests.support.backtests.results import curve_of, trip

STEADY: Final = curve_of(100.0, 103.0, 102.0, 106.0, 105.0, 110.0)
ROUGH: Final = curve_of(100.0, 101.0, 80.0, 82.0, 70.0, 71.0)
GOOD_TRADES: Final = [trip(30.0, hour=0), trip(40.0, hour=2), trip(-5.0, hour=4, fees=0.1)]
BAD_TRADES: Final = [trip(10.0, hour=0), trip(-50.0, hour=2, fees=5.0), trip(-60.0, hour=4, fees=5.0)]
CALM: Final = curve_of(*(100.0 * 1.01 ** (day % 2) for day in range(40)))
SHOCKED: Final = curve_of(*(100.0 * 1.01 ** (day % 2) * (0.6 if day > 20 else 1.0) for day in range(40)))
CHEAP: Final = [trip(10.0, hour=0)]
BUSY: Final = [trip(10.0, hour=hour, fees=1.0) for hour in range(0, 20, 2)]
BETTER_AND_WORSE: Final[dict[str, tuple[tuple[Any, Any], tuple[Any, Any]]]] = {
    "kurtosis": ((CALM, []), (SHOCKED, [])),
    "skew": ((CALM, []), (SHOCKED, [])),
    "turnover_annual": ((STEADY, CHEAP), (STEADY, BUSY)),
    "fees_paid": ((STEADY, CHEAP), (STEADY, BUSY)),
}
"""Where a steady rise with good trades and a rough fall with bad ones do not differ in what the metric measures."""
UNJUDGED: Final = {
    "num_trades": "few trades are chance, many are costs",
    "trades_per_year": "likewise",
    "avg_holding_hours": "a matter of style",
    "median_holding_hours": "a matter of style",
    "exposure_pct": "risk without return, or return that was missed",
    "return_period_s": "says how the others were measured",
}


def direction(metric: Metric) -> float:
    return {Better.MORE: 1.0, Better.LESS: -1.0}[metric.better]


@pytest.mark.parametrize("metric", [m for m in METRICS if m.name not in UNJUDGED], ids=lambda metric: metric.name)
def test_a_better_run_is_better_in_the_direction_of_the_metric(metric: Metric) -> None:
    better, worse = BETTER_AND_WORSE.get(metric.name, ((STEADY, GOOD_TRADES), (ROUGH, BAD_TRADES)))

    gain = calculate_metrics(*better)[metric.name] - calculate_metrics(*worse)[metric.name]

    assert gain * direction(metric) > 0
    assert direction_of(metric.name) == ("maximize" if metric.better is Better.MORE else "minimize")


@pytest.mark.parametrize("name", UNJUDGED)
def test_a_figure_that_is_neither_better_nor_worse_is_no_objective_without_a_direction(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"objective {name}: neither more nor less .* give --direction"):
        direction_of(name)


def test_a_metric_cannot_be_declared_without_its_direction() -> None:
    entry: dict[str, Any] = {
        "name": "new", "group": Group.RISK, "label": "New", "unit": Unit.RATIO, "of": lambda m: 0.0, "meaning": "New.",
    }  # fmt: skip

    with pytest.raises(TypeError, match="better"):
        Metric(**entry)
    assert Metric(**entry, better=Better.LESS).better is Better.LESS


def test_what_only_a_sweep_counts_has_a_direction_too() -> None:
    less = {"gross_loss", "turnover", "fills", "denied", "returns_variance", "returns_kurtosis"}

    directions = {column.name: column.better for column in COLUMNS}

    assert {name for name, better in directions.items() if better is Better.LESS} == less
    assert {name for name, better in directions.items() if better is Better.NONE} == {"returns_count"}


def test_a_figure_that_nobody_declared_is_no_objective() -> None:
    with pytest.raises(ConfigError, match=r"metric: expected one of .*sharpe_ratio.*got 'sharp'"):
        direction_of("sharp")
