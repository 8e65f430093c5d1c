"""The day's profit and loss, the cap on it, and what midnight does."""

from __future__ import annotations

import pytest

from core.contracts import Contract, DenialCode, RiskState, TradingState
from risk import RiskEngine
from tests.support.risk_builders import BTC, ETH_BTC, decision_in, engine, feed, hold, intent, states_in, tick, trade

MIDNIGHT = 12 * 3600  # seconds after the builders' noon


def holding(qty: float, price: float = 100.0, fee: float = 0.0) -> RiskEngine:
    risk = engine()
    risk.on_event(trade(price))
    hold(risk, qty, price, fee=fee)
    return risk


@pytest.mark.parametrize(
    ("qty", "last", "expected"), [(10, 90, -100), (10, 110, 100), (-10, 110, -100), (-10, 90, 100)]
)
def test_open_positions_count_at_the_last_price(qty: float, last: float, expected: float) -> None:
    risk = holding(qty)
    risk.on_event(trade(last))
    assert risk.day_pnl_usd() == pytest.approx(expected)


def test_fees_count_and_so_does_what_was_closed() -> None:
    risk = holding(10, fee=1.5)
    hold(risk, -10, 97.0, fee=1.5)
    assert risk.day_pnl_usd() == pytest.approx(-33.0)


def test_profit_and_loss_in_another_currency_counts_in_dollars() -> None:
    risk = engine()
    risk.on_event(trade(20_000.0))
    risk.on_event(trade(0.05, symbol=ETH_BTC))
    hold(risk, 1, 0.05, ETH_BTC)
    risk.on_event(trade(0.04, symbol=ETH_BTC))
    assert risk.day_pnl_usd() == pytest.approx(-200.0)


def test_a_price_that_takes_the_loss_to_the_cap_restricts_to_reducing_and_says_so_once() -> None:
    risk = holding(10)
    told = [state for price in (60.0, 50.01, 50.0, 49.0) for state in risk.on_event(trade(price))]
    (state,) = states_in(told)
    assert state.state is TradingState.REDUCING
    assert state.reason == "daily_loss day_pnl=-500.00 cap=500.00"
    assert state.inputs["day_pnl_usd"] == -500.0


def test_a_short_loses_when_the_price_rises() -> None:
    risk = holding(-10)
    risk.on_event(trade(150.0))
    assert risk.state is TradingState.REDUCING


def test_a_fill_that_realises_the_loss_restricts_too() -> None:
    risk = holding(10)
    (state,) = states_in(hold(risk, -10, 49.0))
    assert state.state is TradingState.REDUCING


def test_a_fee_alone_can_reach_the_cap() -> None:
    assert states_in(hold(engine(), 1, fee=500.0))[0].state is TradingState.REDUCING


def test_two_positions_add_up() -> None:
    risk = holding(10)
    risk.on_event(trade(10.0, symbol="ATOM/USDT"))
    hold(risk, 100, 10.0, "ATOM/USDT")
    risk.on_event(trade(75.0))
    after_one = risk.state
    risk.on_event(trade(7.5, symbol="ATOM/USDT"))
    assert (after_one, risk.state) == (TradingState.ACTIVE, TradingState.REDUCING)


def test_a_falling_dollar_rate_of_the_quote_currency_is_noticed_at_the_next_tick() -> None:
    risk = engine()
    risk.on_event(trade(20_000.0))
    risk.on_event(trade(0.05, symbol=ETH_BTC))
    hold(risk, -100, 0.05, ETH_BTC)
    risk.on_event(trade(0.0502, symbol=ETH_BTC))  # a loss of 0.02 BTC, 400 dollars
    risk.on_event(trade(26_000.0))
    assert risk.state is TradingState.ACTIVE
    (state,) = states_in(risk.on_event(tick(1)))
    assert state.state is TradingState.REDUCING


def test_after_the_cap_only_what_reduces_passes_even_when_the_loss_shrinks() -> None:
    risk = holding(10)
    risk.on_event(trade(50.0))
    risk.on_event(trade(99.0))
    denied = decision_in(risk.on_event(intent("buy", 1, name="i-1")))
    reduced = decision_in(risk.on_event(intent("sell", 10, name="i-2")))
    assert denied.code is DenialCode.DAILY_LOSS_CAP
    assert denied.reason == "DAILY_LOSS_CAP: day_pnl=-10.00 cap=500.00"
    assert denied.inputs["restrictions"] == ["daily_loss"]
    assert reduced.allowed


def test_an_intent_that_finds_the_loss_at_the_cap_is_told_after_the_state() -> None:
    risk = holding(10)
    risk.on_event(trade(60.0))
    risk.set_limits(engine(daily_loss_usd_cap=300).limits)
    state, decision = risk.on_event(intent("buy", 1))
    assert isinstance(state, RiskState)
    assert decision_in([decision]).code is DenialCode.DAILY_LOSS_CAP


@pytest.mark.parametrize("first", [trade(49.0, MIDNIGHT), tick(MIDNIGHT)], ids=["a trade", "a tick"])
def test_midnight_lifts_the_restriction_and_opens_the_day_at_the_last_prices(first: Contract) -> None:
    risk = holding(10)
    risk.on_event(trade(50.0))
    (state,) = states_in(risk.on_event(first))
    assert state.state is TradingState.ACTIVE
    assert state.reason == "day 2022-01-09 opens: no restriction"
    assert state.inputs["day"] == 19_001
    assert state.inputs["opening"] == {BTC: -500.0}
    assert state.inputs["marks"][BTC][0] == 50.0


def test_the_new_day_counts_from_the_last_prices_of_the_old() -> None:
    risk = holding(10)
    risk.on_event(trade(60.0))
    risk.on_event(trade(55.0, MIDNIGHT))
    assert risk.day_pnl_usd() == pytest.approx(-50.0)
    risk.on_event(trade(10.0, MIDNIGHT + 1))
    assert risk.state is TradingState.REDUCING


def test_an_intent_can_be_what_opens_the_day() -> None:
    risk = holding(10)
    risk.on_event(trade(50.0))
    risk.on_event(feed("live", MIDNIGHT))
    state, *answers = risk.on_event(intent("sell", 1, seconds=MIDNIGHT))
    assert isinstance(state, RiskState)
    assert decision_in(answers).inputs["day_pnl_usd"] == 0.0


def test_a_day_opens_silently_when_nothing_is_held_and_nothing_restricted() -> None:
    risk = holding(10)
    hold(risk, -10, 90.0)
    told = [*risk.on_event(trade(80.0, MIDNIGHT)), *risk.on_event(tick(MIDNIGHT + 1))]
    decision, _ = risk.on_event(intent(seconds=MIDNIGHT + 1))
    assert told == []
    assert decision_in([decision]).inputs["day_pnl_usd"] == 0.0


def test_a_flat_but_restricted_day_ends_at_midnight_too() -> None:
    risk = holding(10)
    hold(risk, -10, 40.0)
    assert risk.state is TradingState.REDUCING
    assert states_in(risk.on_event(tick(MIDNIGHT)))[0].state is TradingState.ACTIVE


def test_a_late_fill_of_yesterday_counts_for_the_open_day() -> None:
    risk = holding(10)
    risk.on_event(tick(MIDNIGHT))
    hold(risk, -10, 90.0, seconds=MIDNIGHT - 1)
    assert risk.day_pnl_usd() == pytest.approx(-100.0)


def test_our_own_newer_fill_is_the_mark_until_a_trade_comes() -> None:
    risk = holding(10)
    hold(risk, 1, 90.0, seconds=1)
    marked = risk.day_pnl_usd()
    risk.on_event(trade(95.0, seconds=2))
    assert marked == pytest.approx(-100.0)
    assert risk.day_pnl_usd() == pytest.approx(-45.0)
