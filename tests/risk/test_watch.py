"""How long the risk engine may be left alone: within its bounds no price makes it say anything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.contracts import FillEvent, RiskState, Side
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


def test_where_the_dollar_rate_moves_as_well_every_price_counts() -> None:
    risk = engine()
    list(risk.on_event(trade(40_000.0)))
    list(risk.on_event(FillEvent("o-1", ETH_BTC, "buy", 1.0, 0.05, 0.0, at(1), fill_id="f-1", strategy_id="trend")))

    assert risk.wake_up_bounds() == NEVER
