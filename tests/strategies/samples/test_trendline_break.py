"""The trendline break: its golden, and the line it breaks."""

from __future__ import annotations

from typing import Any

import pytest

from core.contracts import OHLCVBar, OrderIntent
from tests.support.strategy_cases import SYMBOL, entry, manager_of, trade
from tests.support.strategy_golden_conformance import GoldenConformance

PATH = "strategies.samples.trendline_break.TrendlineBreak"


class TestGolden(GoldenConformance):
    name = "trendline_break"


def sides(prices: list[float], **params: Any) -> list[tuple[int, str]]:
    """When it acts, and how, on a price a second."""
    manager = manager_of(entry(PATH, id="t", params={"lookback_periods": 5, "breakout_threshold": 0.02} | params))
    assert manager.failures == {}
    return [
        (number, answer.side)
        for number, price in enumerate(prices, 1)
        for answer in manager.on_event(trade(number, price))
        if isinstance(answer, OrderIntent)
    ]


def test_it_buys_when_the_price_leaves_the_line_by_more_than_the_threshold() -> None:
    assert sides([7.0] * 5 + [7.13, 7.15]) == []
    assert sides([7.0] * 5 + [7.15]) == [(6, "buy")]
    assert sides([7.0] * 5 + [6.85]) == [(6, "sell")]


def test_the_line_is_carried_on_so_that_a_trend_is_no_break_but_its_end_is() -> None:
    rising = [7.0 + 0.2 * n for n in range(6)]

    assert sides(rising) == []
    assert sides([*rising[:5], 7.8]) == [(6, "sell")]


def test_it_waits_until_the_lookback_is_full() -> None:
    assert sides([7.0] * 4 + [9.0]) == []


def test_a_break_that_goes_on_is_one_signal() -> None:
    assert sides([7.0] * 5 + [7.5, 8.5, 10.0]) == [(6, "buy")]


def test_it_works_on_bars_as_on_trades() -> None:
    manager = manager_of(
        entry(PATH, id="t", events=["md.ohlcv.1m.*"], params={"lookback_periods": 5, "breakout_threshold": 0.02})
    )
    minute = 60_000_000_000
    bars = [
        OHLCVBar(SYMBOL, "1m", n * minute, (n + 1) * minute, p, p, p, p, 1.0) for n, p in enumerate([7.0] * 5 + [7.5])
    ]

    (intent,) = [answer for event in bars for answer in manager.on_event(event)]

    assert isinstance(intent, OrderIntent)
    assert (intent.side, intent.ts_local_ns) == ("buy", 6 * minute)


def test_symbols_do_not_disturb_each_other() -> None:
    manager = manager_of(
        entry(PATH, id="t", symbols=[SYMBOL, "BTC/USDT"], params={"lookback_periods": 5, "breakout_threshold": 0.02})
    )

    for number in range(1, 6):
        assert manager.on_event(trade(number, 7.0)) == []
        assert manager.on_event(trade(number, 60_000.0, "BTC/USDT")) == []
    (buy,) = manager.on_event(trade(6, 7.5))

    assert isinstance(buy, OrderIntent)
    assert buy.symbol == SYMBOL


@pytest.mark.parametrize("params", [{"lookback_periods": 1}, {"breakout_threshold": 0.0}, {"lookback": 5}])
def test_parameters_out_of_range_keep_it_from_loading(params: dict[str, Any]) -> None:
    assert "params" in manager_of(entry(PATH, id="t", params=params)).failures["t"]
