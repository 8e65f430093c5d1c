"""The risk engine while its host cannot write: only what reduces a position passes, visibly, until it can again."""

from __future__ import annotations

from core.contracts import DenialCode, JournalHealth, RiskState, TradingState
from risk import RiskEngine
from tests.support.risk_builders import INSTRUMENTS, LIMITS, at, decision_in, engine, hold, intent, kill, trade


def degraded(ok: bool, seconds: float = 1.0, detail: str = "cannot write risk.ndjson: disk full") -> JournalHealth:
    return JournalHealth(ok, "" if ok else detail, at(seconds))


def holding() -> RiskEngine:
    made = engine()
    list(made.on_event(trade()))
    hold(made, 1.0)
    return made


def test_a_disk_that_refuses_leaves_only_what_reduces() -> None:
    made = holding()
    (state,) = made.on_event(degraded(False))
    assert isinstance(state, RiskState)
    assert state.state is TradingState.REDUCING
    assert state.reason == "journal_degraded cannot write risk.ndjson: disk full"

    assert decision_in(made.on_event(intent("buy", name="i-1"))).code is DenialCode.REDUCING
    assert decision_in(made.on_event(intent("sell", name="i-2"))).allowed


def test_a_disk_that_writes_again_lets_trading_go_on() -> None:
    made = holding()
    list(made.on_event(degraded(False)))
    (state,) = made.on_event(degraded(True, 2))
    assert isinstance(state, RiskState)
    assert state.state is TradingState.ACTIVE
    assert decision_in(made.on_event(intent("buy"))).allowed


def test_what_is_known_already_is_not_said_again() -> None:
    made = engine()
    assert list(made.on_event(degraded(True))) == []
    assert len(list(made.on_event(degraded(False)))) == 1
    assert list(made.on_event(degraded(False, 2, "another file"))) == []


def test_a_disk_that_writes_again_does_not_lift_a_kill_switch() -> None:
    made = engine()
    list(made.on_event(degraded(False)))
    list(made.on_event(kill(seconds=2)))
    list(made.on_event(degraded(True, 3)))
    assert made.state is TradingState.HALTED
    assert made.report() == {"state": "HALTED", "restrictions": "kill_switch file"}


def test_the_restriction_is_restored_from_the_ledger() -> None:
    made, again = engine(), RiskEngine(INSTRUMENTS, LIMITS)
    cause = degraded(False)
    again.recover(cause, list(made.on_event(cause)))
    assert again.state is TradingState.REDUCING
    assert again.snapshot() == made.snapshot()
