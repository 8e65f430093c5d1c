"""The cross of two averages: its golden, what counts as a cross, and the sums that must not drift."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from core.contracts import OHLCVBar, OrderIntent
from strategies.samples.sma_cross import SUM_ANEW
from tests.support.strategy_cases import SYMBOL, entry, fill_of, manager_of, strategy_in, trade
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


def test_running_sums_do_not_drift() -> None:
    draw = Random(1)
    prices = [draw.choice((1e-3, 1e6)) * draw.random() + 0.001 for _ in range(SUM_ANEW + 60)]
    manager = manager_of(entry(PATH, id="s", params={"fast": 3, "slow": 7}))
    for number, price in enumerate(prices, 1):
        manager.on_event(trade(number, price))

    averages = strategy_in(manager, "s")._averages[SYMBOL]

    assert averages.slow_sum == pytest.approx(sum(prices[-7:]), rel=1e-9)
    assert averages.fast_sum == pytest.approx(sum(prices[-3:]), rel=1e-9)


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
