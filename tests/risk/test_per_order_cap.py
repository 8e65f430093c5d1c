"""The cap on the notional of one order, through the engine."""

from __future__ import annotations

import pytest

from core.contracts import DenialCode, OrderEvent, RiskDecision
from tests.support.risk_builders import ETH_BTC, decision_in, engine, intent, trade


def test_an_order_below_the_cap_is_allowed_and_forwarded_right_after_its_decision() -> None:
    risk = engine()
    risk.on_event(trade(100.0))

    decision, order = risk.on_event(intent(qty=9.999))

    assert isinstance(decision, RiskDecision)
    assert decision.allowed
    assert isinstance(order, OrderEvent)
    assert order.decision == decision


def test_an_order_above_the_cap_is_denied_with_its_numbers_and_not_forwarded() -> None:
    risk = engine()
    risk.on_event(trade(100.0))

    (decision,) = risk.on_event(intent(qty=12.5))

    assert isinstance(decision, RiskDecision)
    assert not decision.allowed
    assert decision.code is DenialCode.PER_ORDER_CAP
    assert decision.reason == "PER_ORDER_CAP: notional=1250.00 cap=1000.00"
    assert decision.caps["per_order_usd_cap"] == 1000.0


def test_an_order_of_exactly_the_cap_is_allowed() -> None:
    risk = engine()
    risk.on_event(trade(100.0))
    assert decision_in(risk.on_event(intent(qty=10.0))).allowed


@pytest.mark.parametrize(("qty", "price"), [(0.3, 3333.33), (1.1, 909.09), (7.0, 142.85)])
def test_float_noise_at_the_cap_denies_nothing(qty: float, price: float) -> None:
    risk = engine(per_order_usd_cap=float(f"{qty * price:.6f}"))
    risk.on_event(trade(price))
    assert decision_in(risk.on_event(intent(qty=qty))).allowed


def test_the_last_trade_is_the_price_and_not_an_earlier_one() -> None:
    risk = engine()
    risk.on_event(trade(100.0))
    risk.on_event(trade(200.0))
    assert decision_in(risk.on_event(intent(qty=6))).code is DenialCode.PER_ORDER_CAP


def test_without_a_trade_the_limit_price_is_the_price() -> None:
    risk = engine()
    denied = decision_in(risk.on_event(intent(qty=11, limit=100.0, name="i-1")))
    allowed = decision_in(risk.on_event(intent(qty=9, limit=100.0, name="i-2")))
    assert denied.reason == "PER_ORDER_CAP: notional=1100.00 cap=1000.00"
    assert denied.inputs["ref_source"] == "limit"
    assert allowed.allowed


def test_a_market_order_may_carry_a_price_to_be_valued_at() -> None:
    risk = engine()
    assert decision_in(risk.on_event(intent(qty=9, limit=100.0, kind="market"))).allowed


def test_without_any_price_an_order_cannot_be_valued_and_is_denied() -> None:
    decision = decision_in(engine().on_event(intent(qty=0.001)))
    assert decision.reason == "NO_PRICE: ref_price=0.00 usd_per_quote=1.00"


def test_a_sell_above_the_market_is_valued_at_its_own_limit() -> None:
    risk = engine()
    risk.on_event(trade(100.0))
    assert decision_in(risk.on_event(intent("sell", 9.9, 104.0))).code is DenialCode.PER_ORDER_CAP


def test_a_buy_below_the_market_is_valued_at_the_market() -> None:
    risk = engine()
    risk.on_event(trade(100.0))
    assert decision_in(risk.on_event(intent("buy", 10.5, 50.0))).code is DenialCode.PER_ORDER_CAP


def test_a_quote_currency_that_is_not_dollars_is_converted_at_its_last_trade() -> None:
    risk = engine()
    risk.on_event(trade(20_000.0))
    risk.on_event(trade(0.05, symbol=ETH_BTC))
    denied = decision_in(risk.on_event(intent(qty=2, symbol=ETH_BTC, name="i-1")))
    allowed = decision_in(risk.on_event(intent(qty=1, symbol=ETH_BTC, name="i-2")))
    assert denied.reason == "PER_ORDER_CAP: notional=2000.00 cap=1000.00"
    assert allowed.allowed


def test_a_quote_currency_without_a_dollar_rate_is_denied_until_one_is_configured() -> None:
    unknown, configured = engine(), engine(usd_rates={"BTC": 20_000.0})
    unknown.on_event(trade(0.05, symbol=ETH_BTC))
    configured.on_event(trade(0.05, symbol=ETH_BTC))
    assert decision_in(unknown.on_event(intent(symbol=ETH_BTC))).reason == "NO_PRICE: ref_price=0.05 usd_per_quote=0.00"
    assert decision_in(configured.on_event(intent(symbol=ETH_BTC))).allowed
