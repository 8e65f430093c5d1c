"""What the paper venue accepts, refuses, takes back, and what survives its process."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from core import ids
from core.component import Durable
from core.contracts import ClockTick, Contract, KillSwitchEvent, OrderCancel, OrderEvent, TradeEvent
from core.errors import ConfigError, ContractError, RejectedError, UnknownSymbolError
from execution.paper_venue import PaperVenue
from tests.support.paper_orders import feed, fills, order, trade, updates, venue


def cancel(target: OrderEvent, ts: int = 9, reason: str = "changed my mind") -> OrderCancel:
    """Takes an order back."""
    return OrderCancel(target.order_id, target.symbol, target.strategy_id, ts, reason)


def decided(target: OrderEvent, **changes: Any) -> OrderEvent:
    """The order with a decision that differs."""
    assert target.decision is not None
    return replace(target, decision=replace(target.decision, **changes))


GOOD = order("buy", 1, limit=100.0)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (replace(GOOD, decision=None), "got none"),
        (decided(GOOD, allowed=False, reason="PER_ORDER_CAP: notional=2 cap=1"), "got a denial (PER_ORDER_CAP"),
        (decided(GOOD, intent_id="i-other"), "decision.intent_id"),
        (decided(GOOD, decision_id="d-other"), "decision.decision_id"),
        (replace(GOOD, order_id="o-other"), "expected order_id"),
        (replace(GOOD, order_id=""), "expected order_id"),
        (decided(GOOD, symbol="ETH/USDT"), "decision.symbol"),
        (decided(GOOD, strategy_id="someone else"), "decision.strategy_id"),
    ],
)
def test_an_order_without_its_allowed_decision_is_refused(bad: OrderEvent, expected: str) -> None:
    paper = venue()

    with pytest.raises(RejectedError, match=rf"refused, NO_RISK_DECISION: .*{re.escape(expected)}"):
        feed(paper, bad)

    assert updates(feed(paper, GOOD))[0].status == "open", "its id stays free for the genuine one"


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (order("buy", 1, limit=100.0, symbol="DOGE/USDT"), "UNKNOWN_SYMBOL: expected one of BTC/USDT, ETH/USDT"),
        (order("buy", 0.0005, limit=100.0), "LOT_SIZE: BTC/USDT: expected a quantity in steps of 0.001, got 0.0005"),
        (order("buy", 1e-12, limit=100.0), "LOT_SIZE: BTC/USDT: expected a quantity of at least one lot of 0.001"),
        (order("buy", 1, limit=100.005), "TICK_SIZE: BTC/USDT: expected a price in steps of 0.01, got 100.005"),
        (order("buy", 1, limit=1e-12), "TICK_SIZE: BTC/USDT: expected a price of at least one tick of 0.01"),
    ],
)
def test_an_order_that_does_not_fit_its_instrument_is_rejected_with_the_step(bad: OrderEvent, expected: str) -> None:
    (update,) = updates(feed(venue(), bad))

    assert update.status == "rejected"
    assert update.reason.startswith(expected)


def test_an_order_id_is_taken_once_whatever_became_of_it() -> None:
    paper = venue()
    filled, resting, rejected = order("buy", 1), order("buy", 1, limit=50.0, name="2"), order("buy", 1e-9, name="3")
    feed(paper, trade(100.0), filled, resting, rejected)

    assert feed(paper, filled, resting, rejected) == []
    assert paper.counters.duplicate_orders == 3


def test_a_cancel_takes_back_what_is_left() -> None:
    paper = venue("trade_flow")
    target = order("sell", 3, limit=101.0)
    feed(paper, trade(100.0, ts=1), target, trade(102.0, qty=1.0, ts=2))

    (update,) = updates(feed(paper, cancel(target)))

    assert (update.status, update.filled_qty, update.avg_price) == ("canceled", 1.0, 101.0)
    assert (update.reason, update.ts_updated_ns) == ("changed my mind", 9)
    assert feed(paper, trade(103.0, qty=9.0, ts=10), cancel(target)) == []
    assert paper.counters.late_cancels == 1


def test_a_cancel_that_overtakes_its_order_still_counts() -> None:
    paper = venue()
    target = order("buy", 1)

    answers = feed(paper, trade(100.0), cancel(target), target)

    assert [(update.status, update.filled_qty) for update in updates(answers)] == [("canceled", 0.0)]
    assert fills(answers) == []


def test_the_kill_switch_takes_back_every_open_order_and_refuses_new_ones() -> None:
    paper = venue()
    feed(paper, trade(100.0), order("buy", 1, name="filled"))
    resting = [order("buy", 1, limit=90.0, name="a"), order("sell", 1, limit=110.0, name="b")]
    feed(paper, *resting)

    tripped = updates(feed(paper, KillSwitchEvent(True, "file", 7)))
    late = updates(feed(paper, order("buy", 1, ts=8, name="late")))

    assert [(u.order_id, u.status, u.reason) for u in tripped] == [(o.order_id, "canceled", "halted") for o in resting]
    assert [(u.status, u.reason) for u in late] == [("rejected", "halted")]
    assert feed(paper, trade(80.0, ts=9), trade(120.0, ts=10)) == []
    assert paper.position("BTC/USDT").qty == 1.0


def test_a_cleared_kill_switch_lets_orders_through_again() -> None:
    paper = venue()
    feed(paper, trade(100.0), KillSwitchEvent(True, "file", 2), KillSwitchEvent(False, "file", 3))

    assert len(fills(feed(paper, order("buy", 1, ts=4)))) == 1


def test_what_is_not_for_a_venue_answers_nothing() -> None:
    assert feed(venue(), ClockTick(1)) == []


@pytest.mark.parametrize(
    ("bad", "error"),
    [(trade(100.0, symbol="DOGE/USDT"), UnknownSymbolError), (trade(100.005), ContractError)],
)
def test_a_trade_that_fits_no_instrument_is_refused_and_changes_nothing(bad: TradeEvent, error: Any) -> None:
    paper = venue()

    with pytest.raises(error):
        feed(paper, bad)

    assert [update.status for update in updates(feed(paper, order("buy", 1)))] == ["open"]


def test_an_unknown_fill_model_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="last_trade, trade_flow"):
        venue("hope")


def test_partial_fills_are_numbered_and_average_up() -> None:
    paper = venue("trade_flow")
    target = order("buy", 3, ts=1)

    answers = feed(paper, target, trade(100.0, 1.0, ts=2), trade(103.0, 5.0, ts=3))

    assert [fill.fill_id for fill in fills(answers)] == [ids.fill_id(target.order_id, n) for n in (1, 2)]
    assert [(u.status, u.filled_qty, u.avg_price) for u in updates(answers)] == [
        ("open", 0.0, 0.0),
        ("partially_filled", 1.0, 100.0),
        ("filled", 3.0, 102.0),
    ]


DAY: list[Contract] = [
    trade(100.0, ts=1),
    order("buy", 3, ts=1, name="market"),
    order("sell", 2, limit=104.0, ts=1, name="resting", meta={"execution_id": "e"}),
    order("buy", 2, limit=95.0, ts=1, name="taken back"),
    order("buy", 1e-9, ts=1, name="off grid"),
    trade(101.0, qty=2.0, ts=2),
    cancel(order("buy", 1, name="early"), ts=3),
    trade(105.0, qty=0.5, ts=4),
    cancel(order("buy", 2, limit=95.0, name="taken back"), ts=5),
    order("buy", 1, ts=6, name="early"),
    trade(102.0, qty=4.0, ts=7),
    order("buy", 1, limit=90.0, ts=8, name="halted away"),
    order("sell", 9, limit=130.0, ts=8, name="left open"),
    trade(140.0, qty=3.0, ts=9),
    cancel(order("buy", 1, name="never came"), ts=10),
]
NIGHT: list[Contract] = [KillSwitchEvent(True, "file", 11), order("buy", 1, ts=12, name="too late")]


def transactions(paper: PaperVenue, events: list[Contract]) -> list[tuple[Contract | None, list[Contract]]]:
    """What a ledger would hold: market data only where it led to answers, and then without the event."""
    kept: list[tuple[Contract | None, list[Contract]]] = []
    for event in events:
        answers = list(paper.on_event(event))
        if not isinstance(event, TradeEvent):
            kept.append((event, answers))
        elif answers:
            kept.append((None, answers))
    return kept


@pytest.mark.parametrize("model", ["last_trade", "trade_flow"])
@pytest.mark.parametrize("events", [DAY, DAY + NIGHT], ids=["open orders", "halted"])
def test_its_own_transactions_bring_a_venue_back(model: str, events: list[Contract]) -> None:
    before, after = venue(model), venue(model)

    for cause, answers in transactions(before, events):
        after.recover(cause, answers)

    assert isinstance(after, Durable)
    assert after.snapshot() == before.snapshot()
    assert after.position("BTC/USDT") == before.position("BTC/USDT")
    # A through-trade finds no queue, so both go on alike.
    assert feed(after, trade(131.0, qty=50.0, ts=20)) == feed(before, trade(131.0, qty=50.0, ts=20))


def test_a_snapshot_goes_through_json_and_brings_a_venue_back() -> None:
    before, after = venue("trade_flow"), venue("trade_flow")
    feed(before, *DAY)

    after.load_snapshot(msgspec.json.decode(msgspec.json.encode(before.snapshot())))

    assert after.snapshot() == before.snapshot()
    assert feed(after, trade(131.0, qty=50.0, ts=20)) == feed(before, trade(131.0, qty=50.0, ts=20))


def test_a_restored_venue_repeats_nothing() -> None:
    before, after = venue(), venue()
    for cause, answers in transactions(before, DAY):
        after.recover(cause, answers)

    again = [event for event in DAY if isinstance(event, OrderEvent)]

    assert feed(after, *again) == []


def test_a_fill_of_an_order_that_is_not_open_cannot_be_restored() -> None:
    (stray,) = fills(feed(venue(), trade(100.0), order("buy", 1)))

    with pytest.raises(ContractError, match="expected it to be open"):
        venue().recover(None, [stray])


def test_a_trade_fills_from_its_volume_once_however_often_it_is_delivered() -> None:
    paper = venue("trade_flow")
    feed(paper, order("buy", 3, limit=100.0, ts=1))
    first = trade(99.0, 1.0, "sell", ts=5)

    answers = feed(paper, first, first, trade(99.0, 1.0, "sell", ts=6), first)

    assert [(fill.trade_id, fill.qty) for fill in fills(answers)] == [("t5", 1.0), ("t6", 1.0)]


@pytest.mark.parametrize("way", ["ledger", "snapshot"])
def test_a_feed_that_starts_over_after_a_crash_offers_no_volume_again(way: str) -> None:
    paper, fresh = venue("trade_flow"), venue("trade_flow")
    target = order("buy", 3, limit=100.0, ts=1)
    ledger = [(target, feed(paper, target)), (None, feed(paper, trade(99.0, 1.0, "sell", ts=5)))]

    if way == "ledger":
        for cause, answers in ledger:
            fresh.recover(cause, answers)
    else:
        fresh.load_snapshot(paper.snapshot())

    assert fresh.snapshot() == paper.snapshot()
    assert fills(feed(fresh, trade(99.0, 1.0, "sell", ts=4), trade(99.0, 1.0, "sell", ts=5))) == []
    assert len(fills(feed(fresh, trade(99.0, 1.0, "sell", ts=6)))) == 1


def test_two_trades_of_one_moment_both_fill() -> None:
    paper = venue("trade_flow")
    feed(paper, order("buy", 3, limit=100.0, ts=1))
    one, other = (replace(trade(99.0, 1.0, "sell", ts=5), trade_id=name) for name in ("a", "b"))

    assert [fill.trade_id for fill in fills(feed(paper, one, other))] == ["a", "b"]


def test_a_strategy_cannot_take_back_another_ones_order() -> None:
    paper = venue()
    target = order("buy", 1, limit=90.0)
    feed(paper, target)
    before = paper.snapshot()

    with pytest.raises(RejectedError, match="expected it to come from 's', got 'thief'"):
        paper.on_event(replace(cancel(target), strategy_id="thief"))

    assert paper.snapshot() == before


def test_a_cancel_that_names_no_strategy_is_an_operators() -> None:
    paper = venue()
    target = order("buy", 1, limit=90.0)

    (canceled,) = updates(feed(paper, target, replace(cancel(target), strategy_id="")))[1:]

    assert canceled.status == "canceled"
