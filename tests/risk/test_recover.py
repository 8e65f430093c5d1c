"""What survives the process: the engine recovered from its ledger equals the one that wrote it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from hypothesis import given, settings

from core.component import Message
from core.contracts import DenialCode, TradingState
from core.ledger import Ledger
from core.service.host import ComponentHost, JournalSet
from risk import RiskEngine
from tests.support.risk_builders import (
    BTC,
    LedgerKeeper,
    at,
    decision_in,
    engine,
    fill,
    hold,
    intent,
    kill,
    order_in,
    tick,
    trade,
)
from tests.support.risk_sessions import CAPS, Session, Step, plans

NEXT_DAY = 12 * 3600


@settings(max_examples=300, deadline=None)
@given(plan=plans)
def test_restoring_the_transactions_gives_the_same_state(plan: list[Step]) -> None:
    keeper = LedgerKeeper(engine(**CAPS))
    Session(keeper).play(plan)
    assert keeper.recovered(engine(**CAPS)).snapshot() == keeper.risk.snapshot()


@settings(max_examples=100, deadline=None)
@given(first=plans, second=plans)
def test_a_session_with_a_crash_in_the_middle_ends_as_restorable_as_one_without(
    first: list[Step], second: list[Step]
) -> None:
    keeper = LedgerKeeper(engine(**CAPS))
    session = Session(keeper)
    session.play(first)
    keeper.risk = keeper.recovered(engine(**CAPS))
    session.play(second)
    assert keeper.recovered(engine(**CAPS)).snapshot() == keeper.risk.snapshot()


@settings(max_examples=100, deadline=None)
@given(plan=plans)
def test_a_snapshot_survives_json_and_gives_the_same_state(plan: list[Step]) -> None:
    keeper = LedgerKeeper(engine(**CAPS))
    Session(keeper).play(plan)
    loaded = engine(**CAPS)
    loaded.load_snapshot(json.loads(json.dumps(keeper.risk.snapshot())))
    assert loaded.snapshot() == keeper.risk.snapshot()
    assert loaded.state is keeper.risk.state


def test_a_host_recovers_the_engine_from_its_ledger_file(tmp_path: Path) -> None:
    def host() -> ComponentHost:
        return ComponentHost(engine(), JournalSet(tmp_path), Ledger(tmp_path / "risk_engine.ndjson", durable=False))

    first = host()
    first.recover()
    first.handle(Message("md.trades.BTC/USDT", trade(), "md_ingest", 1))
    answers = first.handle(Message("strat.intent", intent(qty=9), "strategy_runner", 1, (1, 0)))
    order = order_in(message.event for message in answers)
    first.handle(Message("fills.new", fill(order, qty=5, fee=1.0), "paper_trader", 1, (1, 0)))
    first.handle(Message("md.trades.BTC/USDT", trade(50.0, NEXT_DAY), "md_ingest", 2))
    first.handle(Message("fills.new", fill(order, 50.0, 4, NEXT_DAY), "paper_trader", 2, (2, 0)))
    first.handle_local(kill(seconds=NEXT_DAY))
    first.close()

    second = host()
    second.recover()
    assert isinstance(second.component, RiskEngine)
    assert second.component.snapshot() == cast(RiskEngine, first.component).snapshot()
    assert second.component.position(BTC).qty == 9
    second.close()


def test_other_caps_configured_since_do_not_change_what_was() -> None:
    keeper = LedgerKeeper(engine(orders_per_min_cap=2))
    keeper.feed(trade())
    keeper.feed(intent(qty=1))
    recovered = keeper.recovered(engine(orders_per_min_cap=60, per_order_usd_cap=1))
    assert recovered.snapshot() == keeper.risk.snapshot()


def test_a_repeat_after_a_restart_is_recognised() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    keeper.feed(intent())
    assert list(keeper.recovered(engine()).on_event(intent())) == []


def test_a_restart_stays_halted_until_the_kill_switch_is_seen_cleared() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(kill())
    recovered = keeper.recovered(engine())
    assert decision_in(recovered.on_event(intent())).reason == "halted"
    recovered.on_event(kill(False))
    assert recovered.state is TradingState.ACTIVE


def test_a_restart_within_the_day_stays_reduced_after_the_loss() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    order = order_in(keeper.feed(intent(qty=10)))
    keeper.feed(fill(order))
    keeper.feed(trade(50.0))
    recovered = keeper.recovered(engine())
    recovered.on_event(trade(100.0, seconds=1))
    assert decision_in(recovered.on_event(intent(name="i-2", seconds=1))).code is DenialCode.DAILY_LOSS_CAP


def test_a_restart_counts_the_day_from_where_it_opened() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    keeper.feed(fill(order_in(keeper.feed(intent(qty=10)))))
    keeper.feed(trade(80.0))
    keeper.feed(tick(NEXT_DAY))
    recovered = keeper.recovered(engine())
    recovered.on_event(trade(70.0, NEXT_DAY + 1))
    assert recovered.day_pnl_usd() == -100.0


def test_before_the_first_trade_after_a_restart_the_recorded_price_counts_with_its_age() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    keeper.feed(intent())
    decision = decision_in(keeper.recovered(engine()).on_event(intent(name="i-2", seconds=60)))
    assert decision.inputs["ref_price"] == 100.0
    assert decision.code is DenialCode.STALE_PRICE


def test_before_the_first_trade_after_a_restart_positions_stand_where_the_day_opened() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    keeper.feed(fill(order_in(keeper.feed(intent(qty=10)))))
    keeper.feed(trade(80.0, NEXT_DAY - 1))
    keeper.feed(tick(NEXT_DAY))
    assert keeper.recovered(engine()).day_pnl_usd() == 0.0


def test_time_goes_on_where_the_ledger_ended() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    keeper.feed(fill(order_in(keeper.feed(intent())), seconds=3))
    recovered = keeper.recovered(engine())
    assert decision_in(recovered.on_event(intent(name="i-2"))).ts_decided_ns == at(3)


def test_the_day_after_a_loss_was_forgotten_opens_the_same_with_and_without_a_restart() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    order = order_in(keeper.feed(intent(qty=10)))
    keeper.feed(fill(order, fee=600.0))
    keeper.feed(fill(order_in(keeper.feed(intent("sell", 10, name="i-2")))))
    for days in (1, 2, 3):
        keeper.feed(tick(days * NEXT_DAY * 2))
    assert keeper.recovered(engine()).snapshot() == keeper.risk.snapshot()


def test_a_repeat_that_was_answered_with_nothing_restores_to_nothing() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    keeper.feed(intent())
    keeper.feed(intent())
    assert len(keeper.transactions) == 2
    assert keeper.recovered(engine()).snapshot() == keeper.risk.snapshot()


def test_loading_replaces_what_was_there() -> None:
    one, other = engine(), engine()
    hold(one, 3)
    hold(other, -2)
    other.on_event(trade())
    other.on_event(intent(qty=0.1))
    other.load_snapshot(one.snapshot())
    assert other.snapshot() == one.snapshot()
    assert other.position(BTC).qty == 3
    assert decision_in(other.on_event(intent(name="i-2"))).inputs["open_buy_lots"] == 0


def test_a_loaded_engine_counts_what_is_left_of_a_working_order() -> None:
    one, other = engine(), engine()
    one.on_event(trade())
    order = order_in(one.on_event(intent(qty=4)))
    one.on_event(fill(order, qty=1))
    other.load_snapshot(one.snapshot())
    assert other.snapshot() == one.snapshot()
    assert decision_in(other.on_event(intent(name="i-2", limit=100.0))).inputs["open_buy_lots"] == 3_000


def test_a_loaded_engine_that_holds_a_position_opens_the_next_day_with_an_event() -> None:
    one, other = engine(), engine()
    one.on_event(trade())
    hold(one, 1)
    other.load_snapshot(one.snapshot())
    assert len(list(other.on_event(trade(90.0, NEXT_DAY)))) == 1


def test_before_the_first_trade_after_a_snapshot_nothing_was_lost() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade())
    keeper.feed(fill(order_in(keeper.feed(intent(qty=10)))))
    loaded = engine()
    loaded.load_snapshot(keeper.risk.snapshot())
    assert loaded.day_pnl_usd() == 0.0
    assert list(loaded.on_event(tick(1))) == []


def test_a_market_that_starts_over_after_a_restart_is_believed() -> None:
    keeper = LedgerKeeper(engine())
    keeper.feed(trade(100.0, seconds=60))
    keeper.feed(intent(seconds=60))
    recovered = keeper.recovered(engine())
    recovered.on_event(trade(90.0))
    assert decision_in(recovered.on_event(intent(name="i-2"))).inputs["ref_price"] == 90.0
