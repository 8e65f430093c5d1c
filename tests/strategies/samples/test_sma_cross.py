"""The cross of two averages: its golden, what counts as a cross, and the sums that must not drift."""

from __future__ import annotations

from fractions import Fraction
from math import nan
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.contracts import OHLCVBar, OrderIntent
from strategies.kernels.sma_cross import SmaCross as KernelSmaCross
from strategies.samples.sma_cross import SUM_ANEW
from tests.support.strategy_cases import SYMBOL, entry, fill_of, manager_of, trade
from tests.support.strategy_golden_conformance import GoldenConformance

PATH = "strategies.samples.sma_cross.SmaCross"


class TestGolden(GoldenConformance):
    name = "sma_cross"


def sides(prices: list[float], **params: Any) -> list[tuple[int, str, float]]:
    """When it acts, and how, on a price a second; every order fills at once."""
    manager = manager_of(entry(PATH, id="s", params={"fast": 2, "slow": 4} | params))
    assert manager.failures == {}
    acted: list[tuple[int, str, float]] = []
    for number, price in enumerate(prices, 1):
        for answer in manager.on_event(trade(number, price)):
            assert isinstance(answer, OrderIntent)
            acted.append((number, answer.side, answer.qty))
            manager.on_event(fill_of(answer, price))
    return acted


def test_it_turns_with_the_cross_and_holds_one_unit_either_way() -> None:
    assert sides([5.0, 5.0, 5.0, 5.0, 4.0, 7.0, 7.0, 1.0, 1.0]) == [(6, "buy", 1.0), (8, "sell", 2.0)]


def test_without_shorts_a_cross_downwards_closes() -> None:
    assert sides([5.0, 5.0, 5.0, 4.0, 7.0, 7.0, 1.0, 1.0], allow_short=False) == [(5, "buy", 1.0), (7, "sell", 1.0)]


def test_the_side_it_begins_on_is_no_cross() -> None:
    assert sides([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == []


def test_equal_averages_change_nothing() -> None:
    assert sides([4.0, 4.0, 5.0, 5.0, 4.5, 4.5, 4.5, 4.5, 4.5, 6.0]) == [(6, "sell", 1.0), (10, "buy", 2.0)]


def test_bars_and_trades_of_the_same_prices_give_the_same_signals() -> None:
    prices = [5.0, 5.0, 5.0, 5.0, 4.0, 7.0, 7.0, 1.0, 1.0]
    manager = manager_of(entry(PATH, id="s", events=["md.ohlcv.1m.*"], params={"fast": 2, "slow": 4}))
    acted = []
    for n, p in enumerate(prices, 1):
        for answer in manager.on_event(OHLCVBar(SYMBOL, "1m", n * 60, (n + 1) * 60, p, p, p, p, 1.0)):
            assert isinstance(answer, OrderIntent)
            acted.append((n, answer.side, answer.qty))
            manager.on_event(fill_of(answer, p))

    assert acted == sides(prices)


# Few decimals, so that averages tie often; levels that hold, and prices a million times the others.
PRICES = st.lists(
    st.one_of(
        st.integers(1, 6).map(lambda tenths: [tenths / 10]),
        st.tuples(st.integers(1, 6), st.integers(2, 9)).map(lambda level: [level[0] / 10] * level[1]),
        st.just([1e6]),
    ),
    max_size=60,
).map(lambda parts: [price for part in parts for price in part])


def exact_crosses(prices: list[float], fast: int, slow: int) -> list[tuple[int, str]]:
    """When the averages of the decimals cross, in fractions."""
    decimals = [Fraction(repr(price)) for price in prices]
    side, crosses = 0, []
    for number in range(slow, len(prices) + 1):
        gap = sum(decimals[number - fast : number]) / fast - sum(decimals[number - slow : number]) / slow
        now = (gap > 0) - (gap < 0) or side
        if side and now != side:
            crosses.append((number, "buy" if now > 0 else "sell"))
        side = now
    return crosses


@settings(max_examples=150, deadline=None)
@given(prices=PRICES, periods=st.sampled_from([(2, 4), (1, 2), (3, 7), (5, 20)]))
@example(prices=[0.3, 0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.1], periods=(2, 4))
def test_it_acts_exactly_when_the_averages_of_the_decimals_cross_and_so_does_the_kernel(
    prices: list[float], periods: tuple[int, int]
) -> None:
    fast, slow = periods
    expected = exact_crosses(prices, fast, slow)

    assert [(number, side) for number, side, _ in sides(prices, fast=fast, slow=slow)] == expected
    assert kernel_crosses(prices, fast, slow) == expected


def kernel_crosses(prices: list[float], fast: int, slow: int) -> list[tuple[int, str]]:
    params = KernelSmaCross.Params(fast=fast, slow=slow)
    state, answer, crosses = np.zeros(KernelSmaCross.state_size(params)), nan, []
    for number, price in enumerate(prices, 1):
        now = KernelSmaCross.host_step(state, params.vector(), number, price, price, price, price, 1.0)
        if now == now and now != answer:
            crosses.append((number, "buy" if now > 0 else "sell"))
            answer = now
    return crosses


def test_running_sums_do_not_drift() -> None:
    draw = Random(1)
    prices = [round(100.0 + draw.random(), 1) for _ in range(2 * SUM_ANEW)]

    assert [(number, side) for number, side, _ in sides(prices, fast=3, slow=7)] == exact_crosses(prices, 3, 7)


def test_a_successor_carries_on_with_prices_side_and_aims() -> None:
    prices = [5.0, 5.0, 5.0, 5.0, 4.0]
    manager = manager_of(entry(PATH, id="s", params={"fast": 2, "slow": 4}))
    for number, price in enumerate(prices, 1):
        assert manager.on_event(trade(number, price)) == []

    manager.renew()

    (intent,) = manager.on_event(trade(6, 7.0))
    assert isinstance(intent, OrderIntent)
    assert intent.side == "buy"


@pytest.mark.parametrize("params", [{"fast": 0}, {"fast": 4, "slow": 4}, {"quick": 3}])
def test_parameters_that_make_no_sense_keep_it_from_loading(params: dict[str, Any]) -> None:
    assert "params" in manager_of(entry(PATH, id="s", params={"fast": 2, "slow": 4} | params)).failures["s"]
