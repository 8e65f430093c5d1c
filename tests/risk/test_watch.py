"""How long the risk engine may be left alone: within its bounds no price makes it say anything."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.contracts import FillEvent, RiskState, Side, TradingState
from risk.watch import ALWAYS, NEVER
from tests.support.risk_builders import BTC, ETH_BTC, at, engine, trade


def test_flat_nothing_has_to_be_told() -> None:
    assert engine().wake_up_bounds() == ALWAYS


@given(side=st.sampled_from(["buy", "sell"]), share=st.floats(0.01, 0.999))
def test_within_the_bounds_a_price_makes_it_say_nothing_and_beyond_them_it_restricts(side: Side, share: float) -> None:
    risk = engine(daily_loss_usd_cap=50.0)
    list(risk.on_event(trade(100.0)))
    list(risk.on_event(FillEvent("o-1", BTC, side, 2.0, 100.0, 0.0, at(1), fill_id="f-1", strategy_id="trend")))

    ((symbol, low, high),) = risk.wake_up_bounds().prices

    assert symbol == BTC
    bound = low if side == "buy" else high
    assert 0 <= 25.0 - abs(bound - 100.0) < 1e-3
    assert list(risk.on_event(trade(round(100.0 + share * (bound - 100.0), 2), 2))) == []
    beyond = 74.99 if side == "buy" else 125.01
    (state,) = risk.on_event(trade(beyond, 3))
    assert isinstance(state, RiskState)
    assert state.reason.startswith("daily_loss")
    assert risk.wake_up_bounds().prices == ()
    assert risk.wake_up_bounds().until_ns == 19_001 * 86_400 * 10**9


@given(shares=st.tuples(st.floats(-0.99, 0.9999), st.floats(-0.99, 0.9999)), short=st.booleans())
@example(shares=(0.9999, 0.9999), short=False)
def test_two_positions_may_both_go_to_their_bounds_and_together_they_reach_the_cap(
    shares: tuple[float, float], short: bool
) -> None:
    risk = engine(daily_loss_usd_cap=60.0)
    list(risk.on_event(trade(100.0)))
    list(risk.on_event(trade(10.0, symbol="ATOM/USDT")))
    list(risk.on_event(FillEvent("o-1", BTC, "buy", 2.0, 100.0, 0.0, at(1), fill_id="f-1")))
    side: Side = "sell" if short else "buy"
    list(risk.on_event(FillEvent("o-2", "ATOM/USDT", side, 30.0, 10.0, 0.0, at(1), fill_id="f-2")))

    bounds = {symbol: high if low == 0.0 else low for symbol, low, high in risk.wake_up_bounds().prices}

    # Half of the cap each: 30 USD over 2 BTC, over 30 ATOM.
    assert bounds == pytest.approx({BTC: 85.0, "ATOM/USDT": 11.0 if short else 9.0}, rel=1e-5)
    btc = 100.0 + shares[0] * (bounds[BTC] - 100.0)
    atom = 10.0 + shares[1] * (bounds["ATOM/USDT"] - 10.0)
    assert list(risk.on_event(trade(btc, 2))) == []
    assert list(risk.on_event(trade(atom, 3, symbol="ATOM/USDT"))) == []
    beyond = 10.0 + 1.001 * (bounds["ATOM/USDT"] - 10.0)
    list(risk.on_event(trade(84.99, 4)))
    list(risk.on_event(trade(beyond, 5, symbol="ATOM/USDT")))
    assert risk.state is TradingState.REDUCING


def test_where_the_dollar_rate_moves_as_well_every_price_counts() -> None:
    risk = engine()
    list(risk.on_event(trade(40_000.0)))
    list(risk.on_event(FillEvent("o-1", ETH_BTC, "buy", 1.0, 0.05, 0.0, at(1), fill_id="f-1", strategy_id="trend")))

    assert risk.wake_up_bounds() == NEVER
