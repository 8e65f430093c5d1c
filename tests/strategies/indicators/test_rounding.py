"""A market that stands still, or comes back from a spike, leaves no rounding noise that a strategy could trade on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from core.contracts import OrderIntent
from strategies.indicators.incremental import Bands, Bollinger
from strategies.indicators.tolerance import ROUNDING
from tests.strategies.indicators.test_kernel import line, mean, spread
from tests.support.strategy_cases import entry, fill_of, manager_of, trade


def run(indicator: Any, prices: Any, period: int) -> Any:
    return indicator(np.zeros(1 + 8 + period), prices, period)


def sides(path: str, prices: list[float], **params: Any) -> list[tuple[int, str]]:
    manager = manager_of(entry(path, id="s", params=params))
    assert manager.failures == {}
    orders: list[tuple[int, str]] = []
    for number, price in enumerate(prices, 1):
        for answer in manager.on_event(trade(number, price)):
            assert isinstance(answer, OrderIntent)
            orders.append((number, answer.side))
            manager.on_event(fill_of(answer, price))
    return orders


@pytest.mark.parametrize("price", [0.11, 0.42, 12345.67])
def test_bands_of_a_market_that_stands_still_are_its_price(price: float) -> None:
    bands = Bollinger(10, 0.5)

    shown = [bands.update(p) for p in [price] * 20]

    assert {band for band in shown if band is not None} == {Bands(price, price, price)}


@pytest.mark.parametrize("level", [0.3, 7.1])
def test_after_a_spike_has_left_the_window_nothing_of_it_is_in_mean_spread_or_line(level: float) -> None:
    period = 7
    prices = np.array([level, level * 1.1] * 5 + [level * 1e7] + [level] * (2 * period))
    settled = slice(10 + period, None)

    middle = run(mean, prices, period)[settled]
    width = run(spread, prices, period)[settled]
    ahead = run(line, prices, period)[settled]

    assert np.abs(middle / level - 1).max() <= ROUNDING
    assert width.max() <= level * 1e-7  # a variance of rounding only: its root
    assert np.abs(ahead / level - 1).max() <= ROUNDING


def test_a_price_exactly_on_the_edge_of_the_corridor_has_not_left_it() -> None:
    prices = [0.3] * 20 + [0.33]  # the edge is 0.3 + 0.3 * 0.1 = 0.32999999999999996 in floats

    assert sides("strategies.samples.trendline_break.TrendlineBreak", prices, breakout_threshold=0.1) == []
