"""The Sharpe ratio of a track record and the confidence in it: published figures, simulation, another library."""

from __future__ import annotations

from math import inf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import research.overfitting
from core import statistics
from core.errors import ContractError
from core.statistics import (
    TrackRecord,
    minimum_track_record_length,
    probabilistic_sharpe_ratio,
    sharpe_standard_error,
)


@pytest.mark.parametrize("name", statistics.__all__)
def test_research_shows_the_statistics_of_core_and_none_of_its_own(name: str) -> None:
    assert getattr(research.overfitting, name) is getattr(statistics, name)


def test_the_published_two_years_of_a_hedge_fund_have_their_published_confidence() -> None:
    # Bailey and López de Prado (2012): 24 months at 0.458, normal: 0.982; with skew -2.448 and kurtosis 10.164: 0.913
    assert probabilistic_sharpe_ratio(TrackRecord(0.458, 24)) == pytest.approx(0.982, abs=5e-4)
    assert probabilistic_sharpe_ratio(TrackRecord(0.458, 24, -2.448, 10.164)) == pytest.approx(0.913, abs=5e-4)


@pytest.mark.parametrize(("per_year", "years"), [(252, 2.73), (52, 2.83), (12, 3.24)])
def test_the_published_track_record_lengths_come_out(per_year: int, years: float) -> None:
    # the same paper: a Sharpe ratio of 2 a year to be above 1 with 95 %, by days, weeks and months
    record = TrackRecord(2 / sqrt(per_year), 100)
    length = minimum_track_record_length(record, 1 / sqrt(per_year))
    assert length / per_year == pytest.approx(years, abs=5e-3)


def test_the_standard_error_is_the_spread_of_estimates() -> None:
    draws = np.random.default_rng(5).normal(0.05, 1.0, (4_000, 250))
    estimates = draws.mean(axis=1) / draws.std(axis=1, ddof=1)
    assert sharpe_standard_error(TrackRecord(0.05, 250)) == pytest.approx(estimates.std(), rel=0.05)


def test_the_track_record_is_long_enough_exactly_where_the_confidence_is_reached() -> None:
    record = TrackRecord(0.1, 1_000, -1.0, 6.0)
    length = minimum_track_record_length(record, 0.02, 0.95)
    there = TrackRecord(0.1, round(length), -1.0, 6.0)
    assert probabilistic_sharpe_ratio(there, 0.02) == pytest.approx(0.95, abs=1e-3)
    assert minimum_track_record_length(record, 0.1) == inf


@given(st.floats(-0.5, 0.5), st.integers(3, 3_000), st.floats(-0.5, 0.5))
def test_confidence_above_and_below_add_up_where_returns_are_symmetric(
    sharpe: float, periods: int, benchmark: float
) -> None:
    above = probabilistic_sharpe_ratio(TrackRecord(sharpe, periods), benchmark)
    mirrored = probabilistic_sharpe_ratio(TrackRecord(-sharpe, periods), -benchmark)
    assert above + mirrored == pytest.approx(1.0)


def test_moments_of_returns_are_those_of_the_textbook() -> None:
    returns = np.random.default_rng(8).standard_t(5, 5_000) * 0.01 + 0.001
    stats = pytest.importorskip("scipy.stats")
    record = TrackRecord.of(returns)
    assert record.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1))
    assert record.skew == pytest.approx(stats.skew(returns))
    assert record.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False))
    assert TrackRecord.of([0.1, 0.1, 0.1]) == TrackRecord(0.0, 3)


def test_returns_that_cannot_be_judged_are_refused_with_a_reason() -> None:
    for returns in ([0.1], [], [0.1, float("nan")], [[0.1, 0.2]]):
        with pytest.raises(ContractError, match="returns: expected"):
            TrackRecord.of(returns)
    with pytest.raises(ContractError, match="periods"):
        TrackRecord(0.1, 1)
    with pytest.raises(ContractError, match="confidence"):
        minimum_track_record_length(TrackRecord(0.1, 10), confidence=1.0)
