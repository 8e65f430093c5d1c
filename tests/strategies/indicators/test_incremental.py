"""The incremental indicators against the textbook formulas, written out over whole series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.indicators.incremental import Bollinger, Ema, Rsi, Tema

SERIES = st.lists(st.floats(0.01, 100_000.0), min_size=1, max_size=80)
PERIOD = st.integers(1, 12)


def stream(indicator: Any, prices: Sequence[float]) -> list[Any]:
    return [indicator.update(price) for price in prices]


def ema(prices: Sequence[float], period: int) -> list[float]:
    """From the ``period``-th price on."""
    if len(prices) < period:
        return []
    values = [fmean(prices[:period])]
    alpha = 2 / (period + 1)
    for price in prices[period:]:
        values.append(alpha * price + (1 - alpha) * values[-1])
    return values


def tema(prices: Sequence[float], period: int) -> list[float]:
    once = ema(prices, period)
    twice = ema(once, period)
    thrice = ema(twice, period)
    return [
        3 * a - 3 * b + c
        for a, b, c in zip(once[2 * (period - 1) :], twice[period - 1 :], thrice, strict=True)
        if once and twice
    ]


def rsi(prices: Sequence[float], period: int) -> list[float]:
    changes = [after - before for before, after in pairwise(prices)]
    if len(changes) < period:
        return []
    gain = fmean(max(c, 0.0) for c in changes[:period])
    loss = fmean(max(-c, 0.0) for c in changes[:period])
    values = []
    for index in range(period - 1, len(changes)):
        if index >= period:
            gain = (gain * (period - 1) + max(changes[index], 0.0)) / period
            loss = (loss * (period - 1) + max(-changes[index], 0.0)) / period
        values.append(50.0 if gain + loss == 0 else 100 - 100 / (1 + gain / loss) if loss else 100.0)
    return values


def last(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]


@pytest.mark.parametrize(("indicator", "reference"), [(Ema, ema), (Tema, tema), (Rsi, rsi)])
@given(prices=SERIES, period=PERIOD)
def test_an_indicator_gives_what_its_formula_gives(
    indicator: Callable[[int], Any], reference: Callable[..., list[float]], prices: list[float], period: int
) -> None:
    expected = reference(prices, period)
    got = stream(indicator(period), prices)

    assert got[: len(got) - len(expected)] == [None] * (len(got) - len(expected))
    assert last(got) == pytest.approx(expected, rel=1e-6, abs=1e-6 * max(prices))


@given(prices=SERIES, period=PERIOD, width=st.floats(0.5, 4.0))
def test_the_bands_are_mean_and_population_deviation_of_the_window(
    prices: list[float], period: int, width: float
) -> None:
    got = stream(Bollinger(period, width), prices)

    for end, bands in enumerate(got, 1):
        window = prices[max(0, end - period) : end]
        if len(window) < period:
            assert bands is None
        else:
            spread = width * pstdev(window)
            assert bands == pytest.approx((fmean(window) - spread, fmean(window), fmean(window) + spread), rel=1e-6)


def test_the_rsi_of_wilders_own_worked_example() -> None:
    prices = [
        44.34, 44.09, 44.15, 43.61, 44.33, 44.83, 45.10, 45.42, 45.84, 46.08, 45.89, 46.03, 45.61, 46.28, 46.28, 46.00,
    ]  # fmt: skip

    assert last(stream(Rsi(14), prices)) == pytest.approx([70.46, 66.25], abs=0.01)


def test_a_market_that_stands_still_has_an_rsi_of_50_and_bands_without_width() -> None:
    assert stream(Rsi(3), [7.0] * 5)[-1] == 50.0
    assert stream(Bollinger(3, 2.0), [7.0] * 5)[-1] == (7.0, 7.0, 7.0)


def test_large_prices_do_not_widen_the_bands() -> None:
    prices = [1e9 + n % 2 for n in range(1000)]

    bands = stream(Bollinger(20, 1.0), prices)[-1]

    assert (bands.upper - bands.lower) / 2 == pytest.approx(0.5)


def test_a_period_of_nothing_is_refused() -> None:
    for indicator in (Ema, Tema, Rsi, lambda period: Bollinger(period, 2.0)):
        with pytest.raises(ValueError, match="period: expected at least 1, got 0"):
            indicator(0)
