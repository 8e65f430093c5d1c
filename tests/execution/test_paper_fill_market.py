"""Market orders under the specification's rule: at the last price, else at the limit price, else at the next trade."""

from __future__ import annotations

import pytest

from core.contracts import FillEvent, OrderUpdate, PositionSnapshot
from tests.support.paper_orders import feed, fills, order, trade, updates, venue


def test_a_market_order_fills_in_full_at_the_last_price() -> None:
    paper = venue()

    answers = feed(paper, trade(100.0, ts=1), trade(101.0, ts=2), order("buy", 1.5, ts=2))

    assert [type(answer) for answer in answers] == [OrderUpdate, FillEvent, OrderUpdate, PositionSnapshot]
    opened, filled = updates(answers)
    assert (opened.status, opened.filled_qty, opened.avg_price) == ("open", 0.0, 0.0)
    assert (filled.status, filled.filled_qty, filled.avg_price) == ("filled", 1.5, 101.0)
    (fill,) = fills(answers)
    assert (fill.price, fill.qty, fill.side, fill.liquidity) == (101.0, 1.5, "buy", "taker")
    assert fill.fee == 0.1515


def test_the_last_price_is_the_symbols_own() -> None:
    paper = venue()

    answers = feed(paper, trade(100.0, ts=1), trade(7.0, ts=2, symbol="ETH/USDT"), order("sell", 1, ts=2))

    assert fills(answers)[0].price == 100.0


def test_without_a_last_price_a_market_order_falls_back_to_its_limit_price() -> None:
    (fill,) = fills(feed(venue(), order("buy", 1, market_reference=99.5)))

    assert fill.price == 99.5


def test_a_fallback_price_off_the_grid_goes_to_the_nearest_tick() -> None:
    (fill,) = fills(feed(venue(), order("buy", 1, market_reference=99.507)))

    assert fill.price == 99.51


def test_a_known_last_price_beats_the_fallback() -> None:
    (fill,) = fills(feed(venue(), trade(100.0), order("buy", 1, market_reference=99.5)))

    assert fill.price == 100.0


def test_without_any_price_a_market_order_waits_for_the_first_trade() -> None:
    paper = venue()

    waiting = feed(paper, order("sell", 1, ts=5))
    answers = feed(paper, trade(98.0, ts=6), trade(97.0, ts=7))

    assert [update.status for update in updates(waiting)] == ["open"]
    (fill,) = fills(answers)
    assert (fill.price, fill.ts_fill_ns, fill.trade_id) == (98.0, 6, "t6")


def test_the_trade_that_led_to_an_order_does_not_fill_it_even_when_it_arrives_later() -> None:
    paper = venue()

    assert fills(feed(paper, order("sell", 1, ts=5), trade(98.0, ts=5))) == []


@pytest.mark.parametrize(("side", "price"), [("buy", 100.05), ("sell", 99.94)])
def test_slippage_is_against_the_order_and_to_the_next_whole_tick(side: str, price: float) -> None:
    paper = venue(fill_parameters={"slippage_bps": 5.5})

    (fill,) = fills(feed(paper, trade(100.0 if side == "sell" else 99.99), order(side, 1)))  # type: ignore[arg-type]

    assert fill.price == price


def test_the_same_events_give_the_same_answers() -> None:
    events = [trade(100.0, ts=1), order("buy", 1, ts=1, name="a"), trade(101.0, ts=2), order("sell", 2, ts=2, name="b")]

    assert feed(venue(), *events) == feed(venue(), *events)


def test_a_fill_carries_what_the_order_carried() -> None:
    placed = order("buy", 1, meta={"execution_id": "e1", "slice": 3})

    (fill,) = fills(feed(venue(), trade(100.0), placed))

    assert (fill.order_id, fill.intent_id, fill.strategy_id, fill.venue) == (
        placed.order_id,
        placed.intent_id,
        "s",
        "paper",
    )
    assert fill.meta == {"execution_id": "e1", "slice": 3}
    assert fill.fill_id == placed.order_id.replace("o-", "f-") + "-1"
