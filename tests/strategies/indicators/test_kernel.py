"""Indicators of kernels against TA-Lib, against the Python ones, and over a million bars."""

from __future__ import annotations

from collections.abc import Callable
from math import fsum
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import talib
from numba import njit

from strategies.indicators import incremental as indicators
from strategies.indicators import kernel

Floats = npt.NDArray[np.float64]


@njit
def sma(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.sma(state, 1, price, period) for price in prices])


@njit
def ema(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.ema(state, 1, price, period) for price in prices])


@njit
def tema(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.tema(state, 1, price, period) for price in prices])


@njit
def rsi(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.rsi(state, 1, price, period) for price in prices])


@njit
def mean(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.mean_and_spread(state, 1, price, period)[0] for price in prices])


@njit
def spread(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.mean_and_spread(state, 1, price, period)[1] for price in prices])


@njit
def line(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.regression(state, 1, price, period)[0] for price in prices])


@njit
def slope(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.regression(state, 1, price, period)[1] for price in prices])


@njit
def highest(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.highest(state, 1, price, period) for price in prices])


@njit
def lowest(state: Floats, prices: Floats, period: int) -> Floats:
    return np.array([kernel.lowest(state, 1, price, period) for price in prices])


@njit
def atr(state: Floats, high: Floats, low: Floats, close: Floats, period: int) -> Floats:
    return np.array([kernel.atr(state, 1, high[i], low[i], close[i], period) for i in range(len(close))])


def walk(bars: int, seed: int = 7, level: float = 40_000.0) -> Floats:
    """Prices with two decimals that wander."""
    steps = np.random.default_rng(seed).normal(0.0, level * 5e-4, bars)
    return np.asarray(np.round(np.maximum(level + np.cumsum(steps), level / 10), 2), dtype=np.float64)


def series(indicator: Any, size: int, *columns: Any) -> Floats:
    """The indicator over the columns, its state set in the middle of others' that it must not touch."""
    state = np.zeros(size + 2)
    found: Floats = indicator(state, *columns)
    assert state[0] == 0.0
    assert state[-1] == 0.0
    return found


STDDEV = lambda p, n: talib.STDDEV(p - p.mean(), n)  # noqa: E731 — TA-Lib's own running sums of squares drown otherwise

# Tolerances are relative to the price level; TA-Lib's running sums drift, which is most of the difference.
CASES: list[tuple[str, Any, int, Callable[..., Floats], list[int], float]] = [
    ("sma", sma, 4, talib.SMA, [2, 3, 10, 50], 1e-12),
    ("ema", ema, 3, talib.EMA, [2, 3, 10, 50], 1e-13),
    ("tema", tema, 9, talib.TEMA, [2, 3, 9, 30], 1e-12),
    ("mean", mean, 8, talib.SMA, [2, 3, 20, 50], 1e-12),
    ("spread", spread, 8, STDDEV, [2, 3, 20, 50], 1e-8),
    ("line", line, 8, talib.TSF, [2, 3, 20, 50], 1e-11),
    ("slope", slope, 8, talib.LINEARREG_SLOPE, [2, 3, 20, 50], 1e-11),
    ("highest", highest, 3, talib.MAX, [2, 3, 20, 50], 0.0),
    ("lowest", lowest, 3, talib.MIN, [2, 3, 20, 50], 0.0),
]


@pytest.mark.parametrize(("name", "ours", "size", "theirs", "periods", "tolerance"), CASES, ids=[c[0] for c in CASES])
def test_an_indicator_is_the_one_of_ta_lib_from_the_same_bar_on(
    name: str, ours: Any, size: int, theirs: Callable[..., Floats], periods: list[int], tolerance: float
) -> None:
    prices = walk(3_000)
    for period in periods:
        found, expected = series(ours, size + 2 * period, prices, period), theirs(prices, period)
        assert (np.isnan(found) == np.isnan(expected)).all(), f"{name} {period}: warm-up"
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * 40_000, err_msg=f"{name} {period}")


def test_rsi_is_the_one_of_ta_lib_except_in_a_market_that_does_not_move() -> None:
    prices = walk(3_000)
    for period in (2, 14, 50):
        np.testing.assert_allclose(series(rsi, 4, prices, period), talib.RSI(prices, period), rtol=0, atol=1e-10)
    still = np.full(30, 7.0)
    assert series(rsi, 4, still, 14)[-1] == 50.0
    assert talib.RSI(still, 14)[-1] == 0.0


def test_atr_is_the_one_of_ta_lib() -> None:
    close = walk(3_000)
    high, low = close + walk(3_000, 8, 40.0), close - walk(3_000, 9, 40.0)
    for period in (2, 14, 50):
        found = series(atr, 3, high, low, close, period)
        np.testing.assert_allclose(found, talib.ATR(high, low, close, period), rtol=1e-12)


@pytest.mark.parametrize("period", [2, 5, 14])
def test_an_indicator_of_kernels_is_the_one_of_any_python(period: int) -> None:
    prices = walk(1_000)

    def python(indicator: Any) -> Floats:
        return np.array([np.nan if (value := indicator.update(price)) is None else value for price in prices.tolist()])

    # The same operations in the same order: the same bits.
    np.testing.assert_array_equal(series(ema, 3, prices, period), python(indicators.Ema(period)))
    np.testing.assert_array_equal(series(tema, 9, prices, period), python(indicators.Tema(period)))
    np.testing.assert_array_equal(series(rsi, 4, prices, period), python(indicators.Rsi(period)))
    # One sums anew for every price, the other goes on: the same up to rounding.
    bands = indicators.Bollinger(period, 1.0)
    expected = np.array([(np.nan,) * 3 if (b := bands.update(p)) is None else tuple(b) for p in prices.tolist()])
    np.testing.assert_allclose(series(mean, 8 + period, prices, period), expected[:, 1], rtol=1e-13)
    deviation = series(spread, 8 + period, prices, period)
    np.testing.assert_allclose(deviation, expected[:, 2] - expected[:, 1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("level", [40_000.0, 1e-4])
def test_a_million_bars_leave_no_drift_behind(level: float) -> None:
    # Arrange: a million prices that do not add up exactly, with a stretch a thousand times higher in between
    period = 50
    prices = walk(1_000_000, level=level) + level / 3.0
    prices[400_000:400_500] *= 1_000.0
    # Act
    found = {ours: series(ours, size + 2 * period, prices, period) for _, ours, size, _, _, _ in CASES}
    # Assert: at the end, and soon after the stretch, as good as computed anew
    for end in (400_500 + 3 * period, 1_000_000):
        window = prices[end - period : end]
        centre = fsum(window) / period
        deviation = (fsum((p - centre) ** 2 for p in window) / period) ** 0.5
        gradient, start = np.polyfit(np.arange(period) - (period - 1) / 2, window - centre, 1)
        assert found[sma][end - 1] == pytest.approx(centre, rel=1e-14)
        assert found[mean][end - 1] == pytest.approx(centre, rel=1e-14)
        assert found[spread][end - 1] == pytest.approx(deviation, rel=1e-10)
        assert found[slope][end - 1] == pytest.approx(gradient, rel=1e-9, abs=1e-14 * level)
        assert found[line][end - 1] == pytest.approx(centre + start + gradient * (period + 1) / 2, rel=1e-13)
        assert found[highest][end - 1] == window.max()
        assert found[lowest][end - 1] == window.min()


def test_a_market_that_stands_still_has_no_spread_and_no_slope() -> None:
    prices = np.full(500, 0.1)
    assert np.nanmax(np.abs(series(spread, 28, prices, 20))) == 0.0
    assert np.nanmax(np.abs(series(slope, 28, prices, 20))) == 0.0
