"""Limit orders under the specification's rule: filled when the last price reaches them, at placement or later."""

from __future__ import annotations

import pytest

from tests.support.paper_orders import feed, fills, order, trade, updates, venue


@pytest.mark.parametrize(
    ("side", "last", "price"),
    [
        ("buy", 100.0, 100.0),  # last = limit
        ("buy", 99.0, 99.0),  # last better than the limit: the last price
        ("buy", 100.01, None),
        ("sell", 100.0, 100.0),
        ("sell", 101.0, 101.0),
        ("sell", 99.99, None),
    ],
)
def test_a_limit_order_that_the_last_price_reaches_fills_at_once_at_the_last_price(
    side: str, last: float, price: float | None
) -> None:
    filled = fills(feed(venue(), trade(last), order(side, 2, limit=100.0)))  # type: ignore[arg-type]  # from the table

    assert [(fill.price, fill.qty, fill.liquidity) for fill in filled] == (
        [] if price is None else [(price, 2, "taker")]
    )


@pytest.mark.parametrize(
    ("side", "before", "then"),
    [("buy", 105.0, 100.0), ("buy", 105.0, 97.0), ("sell", 95.0, 100.0), ("sell", 95.0, 103)],
)
def test_a_resting_limit_order_fills_at_its_limit_when_a_later_trade_reaches_it(
    side: str, before: float, then: float
) -> None:
    paper = venue()
    assert fills(feed(paper, trade(before, ts=1), order(side, 2, limit=100.0, ts=1))) == []  # type: ignore[arg-type]

    (fill,) = fills(feed(paper, trade(then, ts=2)))

    assert (fill.price, fill.qty, fill.liquidity, fill.fee) == (100.0, 2.0, "maker", 0.1)


def test_a_limit_order_without_a_known_price_rests() -> None:
    paper = venue()

    assert fills(feed(paper, order("buy", 1, limit=100.0, ts=1))) == []
    assert [fill.price for fill in fills(feed(paper, trade(99.0, ts=2)))] == [100.0]


def test_an_order_fills_once() -> None:
    paper = venue()
    feed(paper, trade(105.0, ts=1), order("buy", 1, limit=100.0, ts=1), trade(99.0, ts=2))

    assert feed(paper, trade(98.0, ts=3), trade(97.0, ts=4)) == []


def test_trades_from_before_the_order_was_accepted_do_not_fill_it() -> None:
    paper = venue()
    feed(paper, trade(105.0, ts=1), order("buy", 1, limit=100.0, ts=10))

    assert feed(paper, trade(99.0, ts=9), trade(99.0, ts=10)) == []
    assert len(fills(feed(paper, trade(99.0, ts=11)))) == 1


def test_a_trade_of_another_symbol_fills_nothing() -> None:
    paper = venue()
    feed(paper, order("buy", 1, limit=100.0, ts=1))

    assert feed(paper, trade(50.0, ts=2, symbol="ETH/USDT")) == []


def test_two_resting_orders_fill_buys_by_price_then_time() -> None:
    paper = venue()
    feed(paper, trade(105.0, ts=1))
    for name, limit in (("low", 99.0), ("high", 101.0), ("high again", 101.0)):
        feed(paper, order("buy", 1, limit=limit, ts=1, name=name))

    answers = feed(paper, trade(98.0, ts=2))

    wanted = [order("buy", 1, limit=1.0, name=name).order_id for name in ("high", "high again", "low")]
    assert [fill.order_id for fill in fills(answers)] == wanted
    assert [update.status for update in updates(answers)] == ["filled"] * 3
