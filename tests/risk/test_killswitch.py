"""The kill switch and the states of trading."""

from __future__ import annotations

from itertools import combinations

import pytest

from core.contracts import DenialCode, OrderEvent, RiskState, TradingState
from risk import Restriction, severity
from tests.support.risk_builders import decision_in, engine, hold, intent, kill, states_in, trade


def test_while_the_kill_switch_is_tripped_every_intent_is_denied_as_halted() -> None:
    risk = engine()
    risk.on_event(trade())
    hold(risk, 5)
    risk.on_event(kill(source="file"))
    for name, each in (("i-1", intent("buy", name="i-1")), ("i-2", intent("sell", name="i-2"))):
        (decision,) = risk.on_event(each)
        assert decision_in([decision]).reason == "halted"
        assert decision_in([decision]).code is DenialCode.HALTED
        assert decision_in([decision]).inputs["kill_switch"] == "file"
        assert decision_in([decision]).intent_id == name


def test_an_unknown_symbol_is_also_just_halted() -> None:
    risk = engine()
    risk.on_event(kill())
    assert decision_in(risk.on_event(intent(symbol="FOO/BAR"))).reason == "halted"


def test_a_cleared_kill_switch_lets_trading_go_on() -> None:
    risk = engine()
    risk.on_event(trade())
    risk.on_event(kill())
    risk.on_event(kill(tripped=False))
    assert isinstance(list(risk.on_event(intent()))[1], OrderEvent)


def test_each_change_is_told_once() -> None:
    risk = engine()
    told = [*risk.on_event(kill()), *risk.on_event(kill()), *risk.on_event(kill(False)), *risk.on_event(kill(False))]
    assert [state.state for state in states_in(told)] == [TradingState.HALTED, TradingState.ACTIVE]
    assert states_in(told)[0].reason == "kill_switch file"


def test_a_cleared_kill_switch_is_clear_whichever_source_had_tripped_it() -> None:
    risk = engine()
    risk.on_event(kill(source="file"))
    risk.on_event(kill(source="redis"))
    risk.on_event(kill(False, source="cleared"))
    assert risk.state is TradingState.ACTIVE


def test_a_halt_by_two_operators_lasts_until_both_have_lifted_it() -> None:
    risk = engine()
    risk.restrict(Restriction.MANUAL_HALT, "ann", "", 1)
    risk.restrict(Restriction.MANUAL_HALT, "bob", "", 1)
    risk.lift(Restriction.MANUAL_HALT, "ann", 2)
    after_one = risk.state
    risk.lift(Restriction.MANUAL_HALT, "bob", 3)
    assert (after_one, risk.state) == (TradingState.HALTED, TradingState.ACTIVE)


def test_clearing_the_kill_switch_leaves_other_restrictions_in_force() -> None:
    risk = engine()
    risk.restrict(Restriction.JOURNAL_DEGRADED, "", "disk full", 1)
    risk.on_event(kill())
    (state,) = risk.on_event(kill(False))
    assert isinstance(state, RiskState)
    assert state.state is TradingState.REDUCING
    assert state.reason == "journal_degraded disk full"


@pytest.mark.parametrize("names", [c for n in range(4) for c in combinations(Restriction, n)])
def test_the_most_severe_restriction_decides_the_state(names: tuple[Restriction, ...]) -> None:
    halting = {Restriction.KILL_SWITCH, Restriction.MANUAL_HALT} & set(names)
    expected = TradingState.HALTED if halting else TradingState.REDUCING if names else TradingState.ACTIVE
    assert severity(names) is expected


def test_a_restriction_by_hand_lets_only_reducing_orders_through_until_lifted() -> None:
    risk = engine()
    risk.on_event(trade())
    hold(risk, 2)
    risk.restrict(Restriction.MANUAL_REDUCE, "operator", "", 1)
    denied = decision_in(risk.on_event(intent("buy", 1, name="i-1")))
    too_much = decision_in(risk.on_event(intent("sell", 3, name="i-2")))
    reduced = decision_in(risk.on_event(intent("sell", 2, name="i-3")))
    risk.lift(Restriction.MANUAL_REDUCE, "operator", 1)
    after = decision_in(risk.on_event(intent("buy", 1, name="i-4")))
    assert denied.reason == "REDUCING: qty=1.00 reducible=0.00"
    assert too_much.reason == "REDUCING: qty=3.00 reducible=2.00"
    assert reduced.allowed
    assert after.allowed
