"""The matching core whatever the flow: no lot twice, nothing from before, nothing beyond the order."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts import Side
from core.costs import BarRange
from core.errors import ContractError
from execution.fill_models import Match, Print, Queues, WorkingOrder, fill_model
from execution.matching import Execution, MatchingCore

sides = st.sampled_from(["buy", "sell"])
trades = st.tuples(st.just("trade"), sides, st.integers(95, 105), st.integers(1, 20))
orders = st.tuples(st.just("order"), sides, st.none() | st.integers(95, 105), st.integers(1, 30))
flows = st.lists(trades | orders, max_size=40)
parameters = st.fixed_dictionaries(
    {
        "participation": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        "queue_lots": st.integers(0, 15),
        "queue_fraction": st.sampled_from([0.0, 0.3, 1.0]),
        "slippage_bps": st.sampled_from([0.0, 25.0]),
    }
)
Flow = list[tuple[str, Side, int | None, int]]


def play(core: MatchingCore, flow: Flow) -> list[tuple[Execution, WorkingOrder, Print | None]]:
    """Three events share each moment; returns executions with their order and the trade that made them."""
    placed: dict[str, WorkingOrder] = {}
    seen: list[tuple[Execution, WorkingOrder, Print | None]] = []
    for step, (kind, side, ticks, lots) in enumerate(flow):
        if kind == "order":
            order = WorkingOrder(str(step), side, lots, ticks, step // 3)
            placed[order.order_id] = order
            seen += [(e, order, None) for e in core.place(order)]
        else:
            assert ticks is not None
            happened = Print(ticks, lots, side)
            seen += [(e, placed[e.order_id], happened) for e in core.on_trade(ticks, lots, side, step // 3)]
    return seen


@given(flow=flows, given_parameters=parameters)
@settings(max_examples=200, deadline=None)
def test_the_flow_fills_no_more_than_it_carried(flow: Flow, given_parameters: dict[str, Any]) -> None:
    core = MatchingCore(fill_model("trade_flow", given_parameters))

    used: Counter[int] = Counter()
    for execution, order, happened in play(core, flow):
        assert happened is not None  # nothing fills at placement
        used[id(happened)] += execution.lots
        assert used[id(happened)] <= happened.lots * given_parameters["participation"]
        assert order.ts_ns < execution.ts_ns
        assert (execution.liquidity == "taker") == (order.side == happened.taker)
        if order.limit_ticks is not None:
            assert order.crossed_by(execution.ticks)
            assert order.crossed_by(happened.ticks)


@given(flow=flows, model=st.sampled_from(["last_trade", "trade_flow"]))
@settings(max_examples=200, deadline=None)
def test_an_order_fills_up_to_its_size_and_is_gone(flow: Flow, model: str) -> None:
    core = MatchingCore(fill_model(model))

    filled: Counter[str] = Counter()
    for execution, order, _ in play(core, flow):
        filled[execution.order_id] += execution.lots
        assert filled[execution.order_id] + execution.remaining == order.lots
    assert all(order.remaining == order.lots - filled[order.order_id] > 0 for order in core.open_orders)


@given(flow=flows, extra=flows, model=st.sampled_from(["last_trade", "trade_flow"]))
@settings(max_examples=100, deadline=None)
def test_what_comes_later_changes_nothing_that_was(flow: Flow, extra: Flow, model: str) -> None:
    short = [execution for execution, _, _ in play(MatchingCore(fill_model(model)), flow)]
    longer = [execution for execution, _, _ in play(MatchingCore(fill_model(model)), flow + extra)]

    assert longer[: len(short)] == short


def test_a_late_trade_leaves_the_last_price_alone() -> None:
    core = MatchingCore(fill_model("last_trade"))
    core.on_trade(100, 1, "buy", 10)

    core.on_trade(90, 1, "sell", 5)

    assert core.last_ticks == 100


def test_a_fill_at_placement_is_not_dated_before_the_price_it_used() -> None:
    core = MatchingCore(fill_model("last_trade"))
    core.on_trade(100, 1, "buy", 10)

    (execution,) = core.place(WorkingOrder("a", "buy", 1, None, 7))

    assert execution.ts_ns == 10


def test_a_bar_that_was_open_when_the_order_came_fills_nothing() -> None:
    core = MatchingCore(fill_model("last_trade"))
    core.place(WorkingOrder("a", "buy", 1, 95, 61))

    assert core.on_bar(BarRange(90, 110, 100), 60, 120) == []
    assert [e.ticks for e in core.on_bar(BarRange(90, 110, 100), 120, 180)] == [95]


def test_an_order_placed_at_a_bars_close_takes_part_in_the_next() -> None:
    core = MatchingCore(fill_model("trade_flow"))
    core.on_bar(BarRange(90, 110, 100), 0, 60)
    core.place(WorkingOrder("a", "buy", 1, None, 60))

    assert [(e.ticks, e.ts_ns) for e in core.on_bar(BarRange(90, 110, 104), 60, 120)] == [(104, 120)]


def test_a_bars_close_is_the_last_price_for_what_is_placed_on_it() -> None:
    core = MatchingCore(fill_model("last_trade", {"slippage_bps": 100}))
    core.on_bar(BarRange(90, 110, 100), 0, 60)

    assert [e.ticks for e in core.place(WorkingOrder("a", "buy", 1, None, 60))] == [101]


@pytest.mark.parametrize("order", [WorkingOrder("new", "buy", 0, None, 1), WorkingOrder("new", "buy", 1, 0, 1)])
def test_an_order_of_nothing_or_for_nothing_is_refused(order: WorkingOrder) -> None:
    with pytest.raises(ContractError, match="at least one lot and one tick"):
        MatchingCore(fill_model()).place(order)


def test_an_id_at_work_is_refused() -> None:
    core = MatchingCore(fill_model())
    core.place(WorkingOrder("a", "buy", 1, 95, 1))

    with pytest.raises(ContractError, match="at work"):
        core.place(WorkingOrder("a", "sell", 1, 105, 1))


@pytest.mark.parametrize(("at_placement", "lots"), [(True, 6), (True, 4), (False, 6), (False, 0)])
def test_a_model_that_fills_more_than_there_is_or_a_part_at_placement_is_caught(at_placement: bool, lots: int) -> None:
    class Wrong:
        name: ClassVar[str] = "wrong"

        def on_placed(self, order: WorkingOrder, last_ticks: int | None) -> Match | None:
            return Match(order, lots, 100, "taker") if at_placement else None

        def on_trade(self, queues: Queues, trade: Print) -> list[Match]:
            return [Match(order, lots, trade.ticks, "taker") for order in queues["buy"]]

        def on_bar(self, queues: Queues, bar: BarRange) -> list[Match]:
            return []

    core = MatchingCore(Wrong())

    def trade() -> None:
        core.place(WorkingOrder("a", "buy", 5, None, 1))
        core.on_trade(100, 10, "sell", 2)

    expected = "all 5 lots or none at placement" if at_placement else "a fill of 1 to 5 lots"
    with pytest.raises(ContractError, match=f"expected .*{expected}, got {lots} from fill model wrong"):
        trade()


def test_a_restored_order_queues_anew_unless_the_queue_was_known_to_be_gone() -> None:
    core = MatchingCore(fill_model("trade_flow", {"queue_lots": 10, "queue_fraction": 0.0}))
    core.recover(WorkingOrder("waiting", "buy", 5, 98, 1))
    core.recover(WorkingOrder("filling", "sell", 5, 102, 1))
    core.recover_execution("filling", 2, "maker")

    assert core.on_trade(98, 10, "sell", 2) == []
    assert [(e.order_id, e.lots, e.remaining) for e in core.on_trade(102, 9, "buy", 3)] == [("filling", 3, 0)]
