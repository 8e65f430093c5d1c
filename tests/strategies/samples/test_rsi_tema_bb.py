"""RSI, TEMA and bands: its golden, and what each of the three conditions is for."""

from __future__ import annotations

from typing import Any

import pytest

from strategies.samples.rsi_tema_bb import Readings, RsiTemaBbParams
from tests.support.strategy_cases import entry, manager_of
from tests.support.strategy_golden_conformance import GoldenConformance

PATH = "strategies.samples.rsi_tema_bb.RsiTemaBb"
CALM = [7.0 + 0.01 * (n % 3) for n in range(40)]
FALL = [6.8, 6.5, 6.0]
RISE = [7.25, 7.6, 8.1]


class TestGolden(GoldenConformance):
    name = "rsi_tema_bb"


def signals(prices: list[float], **params: Any) -> list[tuple[int, int]]:
    """The samples at which it signals, with the direction."""
    readings = Readings(RsiTemaBbParams(**params))
    return [(n, signal) for n, price in enumerate(prices) if (signal := readings.update(price))]


def test_it_buys_a_fall_out_of_the_band_once_the_trend_turns_up() -> None:
    assert signals([*CALM, *FALL]) == []
    assert [direction for _, direction in signals([*CALM, *FALL, 6.3, 6.6])] == [1]


def test_it_sells_a_rise_out_of_the_band_once_the_trend_turns_down() -> None:
    assert signals([*CALM, *RISE]) == []
    assert [direction for _, direction in signals([*CALM, *RISE, 7.7, 7.3])] == [-1]


def test_a_turn_without_an_extreme_is_no_signal() -> None:
    assert signals([*CALM, 7.02, 7.0, 7.01, 7.0, 7.02]) == []


def test_a_turn_long_after_the_extreme_is_no_signal() -> None:
    slide = [6.0 - 0.001 * n for n in range(8)]

    assert signals([*CALM, *FALL, *slide, 6.4], confirm_periods=2, rsi_oversold=20.0) == []


def test_it_waits_until_every_indicator_has_seen_enough() -> None:
    assert signals([7.0] * 5 + [6.0, 5.0, 6.5, 7.0]) == []


@pytest.mark.parametrize("params", [{"rsi_period": 1}, {"rsi_oversold": 101.0}, {"bb_std": 0.0}])
def test_parameters_out_of_range_keep_it_from_loading(params: dict[str, Any]) -> None:
    assert "params" in manager_of(entry(PATH, id="t", params=params)).failures["t"]
