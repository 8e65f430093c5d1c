"""A decision is taken again from its own record, and comes out the same."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from hypothesis import given, settings

from core.contracts import DenialCode, OrderEvent, OrderIntent, RiskDecision
from risk import redecide, severity
from tests.support.risk_builders import LedgerKeeper, again, decision_in, engine, intent, trade
from tests.support.risk_sessions import CAPS, Session, Step, plans


@settings(max_examples=150, deadline=None)
@given(plan=plans)
def test_every_decision_of_a_session_comes_out_the_same_from_its_record(plan: list[Step]) -> None:
    keeper = LedgerKeeper(engine(**CAPS))
    Session(keeper).play(plan)

    for cause, events in keeper.transactions:
        for decision in events:
            if isinstance(decision, RiskDecision):
                wish = cast(OrderIntent, cause)
                assert redecide(decision.inputs, decision.caps, wish) == decision
                assert severity(decision.inputs["restrictions"]) == decision.inputs["state"]


@settings(max_examples=50, deadline=None)
@given(plan=plans)
def test_every_intent_gets_one_decision_and_only_allowed_ones_an_order(plan: list[Step]) -> None:
    keeper = LedgerKeeper(engine(**CAPS))
    session = Session(keeper)
    session.play(plan)

    decisions = [event for event in keeper.answers if isinstance(event, RiskDecision)]
    orders = [event for event in keeper.answers if isinstance(event, OrderEvent)]
    assert [d.intent_id for d in decisions] == [wish.intent_id for wish in session.intents]
    assert [order.intent_id for order in orders] == [d.intent_id for d in decisions if d.allowed]


def test_another_cap_gives_another_answer() -> None:
    risk = engine()
    risk.on_event(trade())
    wish = intent(qty=5)
    decision = decision_in(risk.on_event(wish))
    stricter = redecide(decision.inputs, {**decision.caps, "per_order_usd_cap": 100.0}, wish)
    assert decision.allowed
    assert stricter.code is DenialCode.PER_ORDER_CAP


def test_a_record_is_not_believed_about_the_intent() -> None:
    risk = engine()
    risk.on_event(trade())
    wish = intent(qty=5)
    decision = decision_in(risk.on_event(wish))
    off_the_grid = redecide(decision.inputs, decision.caps, replace(wish, qty=5.0001))
    assert off_the_grid.code is DenialCode.LOT_SIZE


def test_an_unknown_symbol_is_decided_again_too() -> None:
    wish = intent(symbol="FOO/BAR")
    decision = again(decision_in(engine().on_event(wish)))
    assert isinstance(decision, RiskDecision)
    assert redecide(decision.inputs, decision.caps, wish) == decision
