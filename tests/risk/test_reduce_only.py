"""While trading is restricted to reducing, no sequence of orders and fills turns a position around or grows it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts import OrderEvent
from risk import Restriction
from tests.support.risk_builders import BTC, engine, fill, hold, intent, trade, update

positions = st.integers(-50, 50).map(lambda tenths: tenths / 10)
moves = st.lists(st.tuples(st.sampled_from(("buy", "sell", "fill", "part", "cancel")), st.integers(1, 80)), max_size=40)


@settings(max_examples=200, deadline=None)
@given(start=positions, moves=moves)
def test_reducing_never_flips_and_never_grows(start: float, moves: list[tuple[str, int]]) -> None:
    risk = engine(orders_per_min_cap=1_000)
    risk.on_event(trade())
    if start:
        hold(risk, start)
    risk.restrict(Restriction.MANUAL_REDUCE, "", "", 1)
    working: list[tuple[OrderEvent, float]] = []
    held = start

    for count, (move, n) in enumerate(moves):
        if move in ("buy", "sell"):
            answers = risk.on_event(intent(move, n / 10, name=f"i-{count}"))
            working += [(each, each.qty) for each in answers if isinstance(each, OrderEvent)]
        elif working:
            order, left = working.pop(n % len(working))
            qty = min(left, 0.1) if move == "part" else left
            if move == "cancel":
                risk.on_event(update(order, "canceled", round(order.qty - left, 3)))
                continue
            risk.on_event(fill(order, qty=qty))
            if round(left - qty, 3) > 0:
                working.append((order, round(left - qty, 3)))
        now = risk.position(BTC).qty
        assert abs(now) <= abs(held)
        assert now * start >= 0
        held = now


@settings(max_examples=100, deadline=None)
@given(start=positions.filter(bool), sizes=st.lists(st.integers(1, 80), max_size=20))
def test_everything_that_reducing_lets_through_at_once_brings_the_position_to_flat_at_most(
    start: float, sizes: list[int]
) -> None:
    risk = engine(orders_per_min_cap=1_000)
    risk.on_event(trade())
    hold(risk, start)
    risk.restrict(Restriction.DAILY_LOSS, "", "", 1)
    side = "sell" if start > 0 else "buy"
    allowed = sum(
        each.qty
        for count, size in enumerate(sizes)
        for each in risk.on_event(intent(side, size / 10, name=f"i-{count}"))
        if isinstance(each, OrderEvent)
    )
    assert allowed <= abs(start) + 1e-9
