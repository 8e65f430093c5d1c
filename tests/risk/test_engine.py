"""The risk engine as a component: what it answers, what it counts as working, what it sets aside."""

from __future__ import annotations

from typing import cast

import pytest

from apps.risk_engine.main import build
from core import ids
from core.component import Component, Durable
from core.config.model import Config
from core.contracts import Contract, DenialCode, TickerEvent
from core.errors import RejectedError, UnknownSymbolError
from risk import RiskEngine
from tests.support.risk_builders import (
    BTC,
    at,
    decision_in,
    engine,
    feed,
    fill,
    hold,
    intent,
    kill,
    order_in,
    tick,
    trade,
    update,
)


def at_100() -> RiskEngine:
    risk = engine()
    risk.on_event(trade())
    return risk


def open_lots(risk: RiskEngine, name: str) -> tuple[int, int]:
    """Working lots, bought and sold, as a new decision sees them."""
    seen = decision_in(risk.on_event(intent(qty=0.1, name=name, symbol=BTC))).inputs
    return cast(int, seen["open_buy_lots"]), cast(int, seen["open_sell_lots"])


def test_the_engine_is_a_durable_component() -> None:
    component: Component = engine()
    assert component.name == "risk_engine"
    assert isinstance(component, Durable)


def test_an_order_is_its_intent_with_ids_time_venue_and_meta() -> None:
    risk = at_100()
    wish = intent("sell", 2, 101.0, seconds=1, name="i-abcdefghijklmnop", meta={"slice": 3})
    decision, order = risk.on_event(wish)
    assert decision_in([decision]).decision_id == "d-abcdefghijklmnop"
    made = order_in([order])
    assert made.order_id == "o-abcdefghijklmnop" == ids.order_id(wish.intent_id)
    assert (made.intent_id, made.strategy_id, made.venue) == (wish.intent_id, "trend", "paper")
    assert (made.symbol, made.side, made.type, made.qty, made.limit_price) == (BTC, "sell", "limit", 2, 101.0)
    assert made.ts_accepted_ns == at(1)
    assert made.meta == {"slice": 3}
    assert made.meta is not wish.meta


def test_a_decision_is_taken_at_the_latest_time_seen_even_if_the_intent_is_older() -> None:
    risk = at_100()
    risk.on_event(tick(3))
    assert decision_in(risk.on_event(intent(seconds=1))).ts_decided_ns == at(3)


def test_time_never_goes_back() -> None:
    risk = at_100()
    risk.on_event(tick(3))
    risk.on_event(trade(seconds=2))
    assert decision_in(risk.on_event(intent())).ts_decided_ns == at(3)


def test_every_event_tells_the_time() -> None:
    order = order_in(at_100().on_event(intent(qty=1)))
    late: list[Contract] = [
        fill(order, seconds=4),
        update(order, "canceled", seconds=4),
        kill(seconds=4),
        tick(4),
        feed("live", 4),
    ]
    for event in late:
        risk = at_100()
        risk.on_event(event)
        assert decision_in(risk.on_event(intent())).ts_decided_ns == at(4)


def test_the_same_intent_delivered_twice_is_answered_once_and_counted() -> None:
    risk = at_100()
    first, second = list(risk.on_event(intent())), list(risk.on_event(intent()))
    assert (len(first), second) == (2, [])
    assert risk.duplicates == 1


def test_a_denied_intent_is_also_decided_only_once() -> None:
    risk = at_100()
    first, second = list(risk.on_event(intent(qty=100))), list(risk.on_event(intent(qty=100)))
    assert (len(first), second) == (1, [])


def test_another_intent_under_a_used_id_is_rejected_and_changes_nothing() -> None:
    risk = at_100()
    risk.on_event(intent(qty=1))
    before = risk.snapshot()
    with pytest.raises(RejectedError, match="give every intent an id of its own"):
        risk.on_event(intent(qty=2))
    assert risk.snapshot() == before


def test_decided_ids_are_forgotten_oldest_first_beyond_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("risk.exposure.REMEMBERED_INTENTS", 2)
    risk = at_100()
    for name in ("i-1", "i-2", "i-3"):
        risk.on_event(intent(qty=0.1, name=name))
    assert list(risk.snapshot()["decided"]) == ["i-2", "i-3"]


def test_an_intent_without_an_id_is_rejected() -> None:
    with pytest.raises(RejectedError, match="expected an id, got ''"):
        engine().on_event(intent(name=""))


def test_what_the_engine_does_not_know_is_ignored() -> None:
    risk = engine()
    others: list[Contract] = [
        TickerEvent(BTC, 100.0, 99.0, 101.0, 1.0),
        trade(symbol="FOO/BAR"),
        feed("stale", symbol="FOO/BAR"),
    ]
    assert [list(risk.on_event(event)) for event in others] == [[], [], []]


def test_a_fill_of_an_unknown_symbol_is_rejected_and_changes_nothing() -> None:
    risk = at_100()
    before = risk.snapshot()
    with pytest.raises(UnknownSymbolError):
        hold(risk, 1, symbol="FOO/BAR")
    assert risk.snapshot() == before


def test_a_fill_off_the_grid_on_a_new_day_does_not_open_the_day() -> None:
    risk = at_100()
    hold(risk, 1)
    before = risk.snapshot()
    with pytest.raises(RejectedError):
        hold(risk, 1.00005, seconds=86_400)
    assert risk.snapshot() == before


def test_an_allowed_order_works_until_it_has_filled() -> None:
    risk = at_100()
    order = order_in(risk.on_event(intent("sell", 4)))
    working = [open_lots(risk, "i-2")]
    risk.on_event(fill(order, qty=1))
    working.append(open_lots(risk, "i-3"))
    risk.on_event(fill(order, qty=3))
    working.append(open_lots(risk, "i-4"))
    assert [sells for _, sells in working] == [4_000, 3_000, 0]


def test_a_canceled_order_stops_working() -> None:
    risk = at_100()
    order = order_in(risk.on_event(intent("sell", 4)))
    risk.on_event(fill(order, qty=1))
    risk.on_event(update(order, "canceled", filled=1))
    assert open_lots(risk, "i-2") == (0, 0)


def test_an_update_that_is_not_final_changes_nothing() -> None:
    risk = at_100()
    order = order_in(risk.on_event(intent("sell", 4)))
    risk.on_event(update(order, "partially_filled", filled=1))
    assert open_lots(risk, "i-2") == (0, 4_000)


def test_a_filled_order_works_until_its_fill_arrives_whichever_comes_first() -> None:
    risk = at_100()
    order = order_in(risk.on_event(intent("sell", 4)))
    risk.on_event(update(order, "filled", filled=4))
    before = open_lots(risk, "i-2")
    risk.on_event(fill(order))
    assert before == (0, 4_000)
    assert open_lots(risk, "i-3")[1] == 0


def test_a_cancel_with_a_fill_still_to_come_keeps_that_much_working() -> None:
    risk = at_100()
    order = order_in(risk.on_event(intent("sell", 4)))
    risk.on_event(update(order, "canceled", filled=1))
    assert open_lots(risk, "i-2") == (0, 1_000)


def test_updates_and_fills_of_orders_it_never_allowed_are_no_error() -> None:
    risk = at_100()
    hold(risk, 1)
    risk.on_event(update(order_in(at_100().on_event(intent(name="i-other"))), "canceled"))
    assert risk.position(BTC).qty == 1


def test_an_order_beyond_the_position_cap_waits_until_working_ones_are_gone() -> None:
    risk = at_100()
    orders = [order_in(risk.on_event(intent(qty=10, name=f"i-{n}"))) for n in range(2)]
    denied = decision_in(risk.on_event(intent(qty=0.1, name="i-3")))
    risk.on_event(update(orders[0], "canceled"))
    allowed = decision_in(risk.on_event(intent(qty=0.1, name="i-4")))
    assert denied.reason == "POSITION_CAP: exposure=2010.00 cap=2000.00 position=0.00 working=20.00"
    assert allowed.allowed


def test_a_feed_that_reconnects_stops_orders_until_a_trade_comes() -> None:
    risk = at_100()
    risk.on_event(feed("reconnecting", 1))
    denied = decision_in(risk.on_event(intent(qty=1, name="i-1", seconds=1)))
    risk.on_event(trade(seconds=2))
    allowed = decision_in(risk.on_event(intent(qty=1, name="i-2", seconds=2)))
    assert denied.reason == "STALE_PRICE: age_ms=1000.00 max_age_ms=5000.00 feed=reconnecting"
    assert allowed.allowed


def test_a_feed_that_reports_live_lets_orders_through_again() -> None:
    risk = at_100()
    risk.on_event(feed("stale", 1))
    risk.on_event(feed("live", 2))
    assert decision_in(risk.on_event(intent(seconds=2))).allowed


def test_the_health_of_the_feed_tells_the_time_too() -> None:
    risk = at_100()
    risk.on_event(feed("live", 6))
    assert decision_in(risk.on_event(intent())).code is DenialCode.STALE_PRICE


def test_a_price_grows_stale_by_the_clock_alone() -> None:
    risk = at_100()
    risk.on_event(tick(6))
    assert decision_in(risk.on_event(intent())).code is DenialCode.STALE_PRICE


def test_the_daemons_engine_comes_from_the_configuration() -> None:
    config = Config.model_validate(
        {
            "instruments": {BTC: {"tick_size": "0.01", "lot_size": "0.001"}},
            "risk": {"per_order_usd_cap": 50, "position_usd_cap": 60},
        }
    )
    risk = build(config)
    assert (risk.limits.per_order_usd_cap, risk.limits.position_usd_cap) == (50, 60)
    assert risk.limits.max_price_age_ms == config.risk.max_price_age_ms
    assert order_in(risk.on_event(intent(qty=0.1, limit=100.0))).venue == "paper"


def test_a_live_installation_sends_orders_to_its_exchange() -> None:
    config = Config.model_validate(
        {"app": {"env": "live"}, "instruments": {BTC: {"tick_size": "0.01", "lot_size": "0.001"}}}
    )
    assert order_in(build(config).on_event(intent(qty=0.1, limit=100.0))).venue == "binanceus"


def test_a_late_trade_leaves_the_last_price_alone() -> None:
    risk = at_100()
    risk.on_event(trade(110.0, seconds=4))
    assert list(risk.on_event(trade(90.0, seconds=2))) == []
    decision = decision_in(risk.on_event(intent(seconds=4)))
    assert (decision.inputs["ref_price"], decision.inputs["ref_price_ts_ns"]) == (110.0, at(4))


def test_a_late_trade_is_no_loss() -> None:
    risk = at_100()
    risk.on_event(fill(order_in(risk.on_event(intent(qty=10)))))
    risk.on_event(trade(101.0, seconds=4))
    assert list(risk.on_event(trade(1.0, seconds=2))) == []
    assert risk.day_pnl_usd() == 10.0
