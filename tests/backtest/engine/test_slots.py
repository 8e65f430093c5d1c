"""A strategy's answers pass the same door as live, also where the door is not asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest.engine.slots import Entrant, slots_of
from core.contracts import OHLCVBar, OrderIntent
from core.errors import ConfigError, RejectedError
from strategies.hosting.admission import Admission
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions
from tests.support.backtests.runs import ATOM, INSTRUMENTS, T0, Scripted, at

BAR = OHLCVBar(ATOM, "1m", T0, at(0), 10.0, 10.0, 10.0, 10.0, 1.0)


def slots(*entrants: Entrant) -> Any:
    return slots_of(entrants, StrategyPositions(INSTRUMENTS), OpenOrders(INSTRUMENTS), {}, INSTRUMENTS)


def scripted(name: str = "s") -> Entrant:
    return Entrant(name, lambda context: Scripted(context, {}), (ATOM,))


@given(
    strategy_id=st.sampled_from(["s", "other"]),
    symbol=st.sampled_from([ATOM, "BTC/USDT"]),
    qty=st.sampled_from([1.0, 1, 0.1, 0.15, 2.5]),
    limit=st.sampled_from([None, 10.0, 10, 10.005]),
    intent_id=st.sampled_from(["", "i-1", "ü"]),
    ts=st.sampled_from([0, at(0), at(1), at(0) - 1]),
    meta=st.sampled_from([{}, {"tag": 1}, {"bad": object()}]),
)
def test_every_intent_leaves_as_it_would_live(
    strategy_id: str, symbol: str, qty: float, limit: float | None, intent_id: str, ts: int, meta: dict[str, Any]
) -> None:
    kind: Any = "market" if limit is None else "limit"
    intent = OrderIntent(strategy_id, symbol, "buy", kind, qty, limit, intent_id, ts, meta)
    (slot,) = slots(scripted())
    try:
        expected = [Admission("s", frozenset({ATOM}), INSTRUMENTS).admit(intent, BAR, 0)]
    except RejectedError as error:
        expected, reason = [], str(error)
        assert (slot.admitted([intent], BAR), slot.refused) == ([], [reason])
        return

    assert slot.admitted([intent], BAR) == expected
    assert [type(answer.qty) for answer in slot.admitted([intent], BAR)] == [float]


def test_strategies_sit_by_id_whatever_the_order_they_came_in() -> None:
    assert [slot.strategy_id for slot in slots(scripted("b"), scripted("a"))] == ["a", "b"]


def test_an_id_is_given_once() -> None:
    with pytest.raises(ConfigError, match="each under an id of its own, got"):
        slots(scripted("a"), scripted("a"))


def test_a_constructor_that_raises_is_named() -> None:
    def broken(context: Any) -> Any:
        raise KeyError("period")

    with pytest.raises(ConfigError, match="strategy 'x' cannot be built: KeyError: 'period'"):
        slots(Entrant("x", broken, (ATOM,)))
