"""What a result says against itself: capital that was gone, borrowed money, figures that do not exist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from backtest.lint.command import lint
from backtest.metrics import measured_of
from backtest.report.view import months, tiles
from backtest.summary import cautions, summary_lines
from tests.support.backtests.results import CAPITAL, DAY_NS, START_NS, result_of, series_of, trip


def test_capital_that_was_gone_is_said_first_and_leaves_no_sharpe_ratio() -> None:
    curve = [(START_NS + DAY_NS * day, capital) for day, capital in enumerate((CAPITAL, -500.0, 3 * CAPITAL))]
    ruined = replace(result_of(), equity_curve=curve, warnings=("the bars have gaps",))

    assert cautions(ruined)[0].startswith("The capital was gone at 2022-01-02 00:00 (-$500.00 at the lowest)")
    assert "Sharpe Ratio:   –" in summary_lines(ruined)
    sharpe = next(each for each in tiles(ruined, ruined.metrics, ()) if each.label == "Sharpe ratio")
    assert (sharpe.value, sharpe.note) == ("–", "the capital was gone")


def test_a_month_that_began_without_capital_has_no_return() -> None:
    days = np.arange(62)
    equity = np.where(days < 20, 1_000.0, np.where(days < 40, -100.0, 2_000.0))

    _, rows = months(measured_of(START_NS + days * DAY_NS, equity, None))

    january, february, march = rows[0][1][:3]
    assert january.text == "-110.0%"
    assert february.text == "–"
    assert march.text == "0.0%"


@pytest.mark.parametrize(("qty", "said"), [(0.2, False), (3.0, True)])
def test_more_in_the_market_than_the_capital_is_said(qty: float, *, said: bool) -> None:
    result = replace(result_of(), initial_capital=10_000.0, round_trips=(trip(1.0, qty=qty),))

    found = any(text.startswith("Up to 12.0 times the initial capital") for text in cautions(result))

    assert found == said


def test_figures_of_no_trade_are_dashes() -> None:
    lines = summary_lines(replace(result_of(), num_trades=0, round_trips=()))

    assert "Trades:         0" in lines
    assert "Profit Factor:  –" in lines


def test_what_is_said_of_several_symbols_in_the_same_words_is_said_once() -> None:
    same = "no instrument configured; traded in steps of 0.01"
    result = replace(result_of(), warnings=(f"ETH/BTC: {same}", f"LTC/BTC: {same}", "the bars have 4 gaps"))

    assert cautions(result)[:2] == (f"ETH/BTC, LTC/BTC: {same}", "The bars have 4 gaps")


def test_orders_denied_for_want_of_a_dollar_price_come_with_what_to_do() -> None:
    result = replace(result_of(), symbol="ETH/BTC", denied=1, refused={"NO_PRICE": 1})

    (said,) = [text for text in cautions(result) if "denied" in text]
    assert said.startswith("1 order was denied by the risk engine, 1 because it counts in dollars")
    assert "BTC" in said
    assert "--no-risk" in said


def test_a_resting_order_is_looked_for_in_the_bar_that_ends_with_its_fill() -> None:
    series = series_of(200)
    base = result_of(series)
    assert base.config is not None
    at = [20, 40, 60, 80]
    fills = [
        {
            "order_id": f"o{bar}",
            "symbol": series.symbol,
            "side": "buy",
            "qty": 1.0,
            "price": float(series.low[bar]),
            "ts_fill_ns": int(series.ts_close[bar]),
            "liquidity": "maker",
        }
        for bar in at
    ]
    orders = [
        {"order_id": fill["order_id"], "type": "limit", "limit_price": fill["price"], "ts_accepted_ns": 1}
        for fill in fills
    ]

    found = lint(replace(base, fills=tuple(fills), orders=tuple(orders)), series=series)

    assert any(each.rule == "touched_limits" and "4 of 4 resting orders" in each.text for each in found)


def test_several_timeframes_come_with_what_they_do_to_a_strategy_that_does_not_look() -> None:
    base = result_of()
    assert base.config is not None

    both = cautions(replace(base, config=replace(base.config, timeframes=("1m", "5m"))))

    assert any(text.startswith("Bars of 1m and 5m come as one stream") for text in both)
    assert not any("one stream" in text for text in cautions(base))
