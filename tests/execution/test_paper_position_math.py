"""The paper venue's positions against arithmetic done by hand: long, short, reversals, fees, the account."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from core.contracts import PositionSnapshot, Side
from execution.paper_venue import PaperVenue
from tests.support.paper_orders import feed, fills, order, trade, venue


class Leg(NamedTuple):
    """A market order filled at a price, and by hand: quantity, average price, realised profit, cash after it."""

    side: Side
    qty: float
    price: float
    position: float
    avg_price: float
    realized: float
    cash: float


# Taker fee 0.1 % of the notional; cash starts at 10,000.
STORIES = [
    (
        "a long in two steps, sold in two: the oldest lots go first",
        [
            Leg("buy", 2, 100.0, 2, 100.0, 0.0, 9_799.8),
            Leg("buy", 1, 130.0, 3, 110.0, 0.0, 9_669.67),
            Leg("sell", 1, 120.0, 2, 115.0, 20.0, 9_789.55),
            Leg("sell", 2, 120.0, 0, 0.0, 30.0, 10_029.31),
        ],
    ),
    (
        "a short earns when the price falls",
        [
            Leg("sell", 1, 100.0, -1, 100.0, 0.0, 10_099.9),
            Leg("sell", 1, 110.0, -2, 105.0, 0.0, 10_209.79),
            Leg("buy", 1, 90.0, -1, 110.0, 10.0, 10_119.7),
            Leg("buy", 1, 115.0, 0, 0.0, 5.0, 10_004.585),
        ],
    ),
    (
        "one sale closes a long and opens a short with the rest",
        [
            Leg("buy", 1, 100.0, 1, 100.0, 0.0, 9_899.9),
            Leg("sell", 3, 110.0, -2, 110.0, 10.0, 10_229.57),
        ],
    ),
    (
        "one purchase closes a short and opens a long with the rest",
        [
            Leg("sell", 2, 100.0, -2, 100.0, 0.0, 10_199.8),
            Leg("buy", 5, 104.0, 3, 104.0, -8.0, 9_679.28),
            Leg("sell", 3, 104.0, 0, 0.0, -8.0, 9_990.968),
        ],
    ),
]


def take(paper: PaperVenue, leg: Leg, step: int) -> list[Any]:
    """The price is seen, then a market order fills at it."""
    return feed(paper, trade(leg.price, ts=2 * step), order(leg.side, leg.qty, ts=2 * step, name=str(step)))


@pytest.mark.parametrize(("story", "legs"), STORIES, ids=[story for story, _ in STORIES])
def test_positions_by_hand(story: str, legs: list[Leg]) -> None:
    paper = venue()
    for step, leg in enumerate(legs, start=1):
        answers = take(paper, leg, step)

        snapshot = answers[-1]
        assert isinstance(snapshot, PositionSnapshot)
        assert (snapshot.qty, snapshot.avg_price, snapshot.realized_pnl) == (leg.position, leg.avg_price, leg.realized)
        account = paper.account()
        assert account.cash == leg.cash
        assert account.equity == pytest.approx(leg.cash + leg.position * leg.price, abs=1e-9)


def test_cash_moves_by_price_times_quantity_and_fee() -> None:
    paper = venue()

    (filled,) = fills(feed(paper, trade(64_123.45), order("buy", 0.123)))

    assert (filled.price, filled.qty) == (64_123.45, 0.123)
    assert filled.fee == 7.88718435  # 64123.45 * 0.123 * 0.001 = 7.88718435
    assert paper.account().cash == 2_104.92846565  # 10000 - 7887.18435 - 7.88718435


def test_equity_is_starting_cash_plus_profit_less_fees() -> None:
    paper = venue()
    feed(
        paper, trade(100.0, ts=1), order("buy", 5, ts=1, name="a"), trade(120.0, ts=2), order("sell", 2, ts=2, name="b")
    )

    feed(paper, trade(111.0, ts=3))

    account = paper.account()
    assert (account.realized_pnl, account.unrealized_pnl, account.fees_paid) == (40.0, 33.0, 0.74)
    assert account.equity == 10_072.26
    assert account.cash + account.position_value == pytest.approx(account.equity)


def test_an_account_counts_only_its_own_currency() -> None:
    paper = venue()
    feed(paper, trade(100.0), order("buy", 5))

    assert paper.account("BTC").equity == 0.0


def test_average_cost_is_a_matter_of_configuration() -> None:
    legs = STORIES[0][1][:3]
    paper = venue(method="average")
    for step, leg in enumerate(legs, start=1):
        take(paper, leg, step)

    assert paper.position("BTC/USDT").realized_pnl == 10.0
    assert paper.position("BTC/USDT").avg_price == 110.0


def test_the_snapshot_is_marked_at_the_last_price() -> None:
    paper = venue()
    feed(paper, trade(100.0, ts=1), order("buy", 2, limit=90.0, ts=1))

    snapshot = feed(paper, trade(85.0, ts=2))[-1]

    assert isinstance(snapshot, PositionSnapshot)
    assert (snapshot.avg_price, snapshot.mark_price, snapshot.unrealized_pnl) == (90.0, 85.0, -10.0)
    assert snapshot.fees_paid == 0.09  # maker, 0.05 %
