"""What a strategy has under way: known at once, gone when it can fill no more, and there again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from core import codec, ids
from core.contracts import Contract, FillEvent, OrderCancel, OrderIntent, TradeEvent
from core.errors import RejectedError
from strategies.base import StrategyBase
from strategies.manager import StrategyManager
from strategies.orders.open_orders import REMEMBERED, OpenOrders
from tests.support.strategy_cases import (
    INSTRUMENTS,
    SYMBOL,
    denial_of,
    entry,
    fill_of,
    manager_of,
    strategy_in,
    trade,
    update_of,
)


class Watches(StrategyBase):
    """A limit order for each trade; notes which orders it sees open whenever it is called."""

    strategy_id = "watches"

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.seen: list[list[str]] = []

    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        self.seen.append(list(self.context.orders))
        if isinstance(event, TradeEvent):
            yield OrderIntent(self.strategy_id, event.symbol, "sell", "limit", 1.0, limit_price=8.0)


def watched() -> tuple[StrategyManager, OrderIntent, Any]:
    """A manager with one order under way, the intent, and the strategy's view."""
    manager = manager_of(entry(Watches, id="a"), entry(Watches, id="b", symbols=["BTC/USDT"]))
    (intent,) = manager.on_event(trade())
    assert isinstance(intent, OrderIntent)
    return manager, intent, strategy_in(manager, "a").context.orders


def test_an_order_is_open_as_soon_as_its_intent_was_answered_and_only_to_its_own_strategy() -> None:
    manager, intent, view = watched()

    order = view[intent.intent_id]

    assert (order.order_id, order.symbol, order.side) == (ids.order_id(intent.intent_id), SYMBOL, "sell")
    assert (order.qty, order.limit_price, order.open_lots, order.signed_lots) == (1.0, 8.0, 100, -100)
    assert (order.cancel_requested, order.ended) == (False, False)
    assert dict(strategy_in(manager, "b").context.orders) == {}


def test_a_fill_takes_its_lots_off_and_the_last_one_ends_the_order() -> None:
    manager, intent, view = watched()

    manager.on_event(fill_of(intent, qty=0.4))
    assert view[intent.intent_id].open_lots == 60

    manager.on_event(fill_of(intent, qty=0.6, count=2))
    assert dict(view) == {}


@pytest.mark.parametrize("end", [denial_of, lambda i: update_of(i, "canceled"), lambda i: update_of(i, "rejected")])
def test_the_strategy_is_told_of_the_end_when_the_order_is_gone_already(end: Any) -> None:
    manager, intent, view = watched()

    manager.on_event(end(intent))

    assert dict(view) == {}
    assert strategy_in(manager, "a").seen == [[], []]


def test_a_final_update_that_overtakes_fills_leaves_open_what_they_will_bring() -> None:
    manager, intent, view = watched()
    manager.on_event(fill_of(intent, qty=0.1))

    manager.on_event(update_of(intent, "canceled", filled_qty=0.4))
    assert (view[intent.intent_id].open_lots, view[intent.intent_id].ended) == (30, True)

    manager.on_event(fill_of(intent, qty=0.3, count=2))
    assert dict(view) == {}


def test_an_update_on_the_way_and_events_of_unknown_orders_change_nothing() -> None:
    manager, intent, view = watched()
    before = dict(view)
    stranger = OrderIntent("a", SYMBOL, "buy", "market", 1.0, intent_id="i-1")

    for event in (update_of(intent), denial_of(stranger), update_of(stranger, "filled", 1.0), fill_of(stranger)):
        manager.on_event(event)

    assert dict(view) == before


def test_a_cancel_that_was_answered_is_marked() -> None:
    class Cancels(Watches):
        def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
            if not self.context.orders:
                return super().on_event(event)
            return [OrderCancel(o.order_id, o.symbol, self.strategy_id, 0) for o in self.context.orders.values()]

    manager = manager_of(entry(Watches, id="a"))
    strategy_in(manager, "a").__class__ = Cancels
    (intent,) = manager.on_event(trade(1))
    assert isinstance(intent, OrderIntent)

    manager.on_event(trade(2))

    assert strategy_in(manager, "a").context.orders[intent.intent_id].cancel_requested


def test_what_was_asked_for_before_its_end_is_not_asked_for_again() -> None:
    manager, intent, view = watched()
    manager.on_event(fill_of(intent))

    assert manager.on_event(trade()) == []  # the same trade again, over a restart: nobody decides twice on one id
    assert dict(view) == {}


def test_orders_of_a_strategy_that_is_removed_stay_known_and_are_there_when_it_comes_back() -> None:
    manager, intent, _ = watched()

    manager.install({"strategies": []})
    manager.on_event(fill_of(intent, qty=0.4))
    manager.install({"strategies": [entry(Watches, id="a")]})

    assert strategy_in(manager, "a").context.orders[intent.intent_id].open_lots == 60


def test_an_update_off_the_grid_is_refused_before_anything_changes() -> None:
    manager, intent, _ = watched()
    before = manager.snapshot()

    with pytest.raises(RejectedError):
        manager.on_event(update_of(intent, "canceled", filled_qty=0.001))

    assert manager.snapshot() == before


def test_the_view_cannot_be_written_to() -> None:
    _, _, view = watched()

    with pytest.raises(TypeError):
        view["x"] = 1


def test_open_orders_come_back_from_the_transactions_of_the_ledger() -> None:
    first, second = manager_of(entry(Watches, id="a")), manager_of(entry(Watches, id="a"))
    transactions: list[tuple[Contract | None, list[Contract]]] = []
    ends: list[Callable[[Any], list[Contract]]] = [
        lambda i: [denial_of(i)],
        lambda i: [fill_of(i, qty=0.25), update_of(i, "partially_filled", 0.25)],
        lambda i: [fill_of(i), update_of(i, "filled", 1.0)],
        lambda i: [update_of(i, "canceled", 0.5)],
        lambda i: [],
    ]
    for number in range(1, 20):
        answers = first.on_event(trade(number))
        transactions.append((None, answers))
        transactions += [(event, first.on_event(event)) for event in ends[number % len(ends)](answers[0])]
    cancel = OrderCancel(ids.order_id(next(iter(strategy_in(first, "a").context.orders))), SYMBOL, "a", 9)
    first.recover(None, [cancel])
    transactions.append((None, [cancel]))

    for cause, events in transactions:
        second.recover(cause, events)

    assert codec.encode_plain(first.snapshot()) == codec.encode_plain(second.snapshot())
    assert strategy_in(first, "a").context.orders == strategy_in(second, "a").context.orders
    assert len(strategy_in(second, "a").context.orders) > 5


def test_only_what_is_open_is_kept_and_so_many_ids_of_what_has_ended() -> None:
    orders = OpenOrders(INSTRUMENTS)

    for number in range(REMEMBERED + 10):
        intent = OrderIntent("a", SYMBOL, "buy", "market", 1.0, intent_id=f"i-{number}")
        orders.learn(intent)
        orders.learn(denial_of(intent))

    assert orders.snapshot()["open"] == []
    assert len(orders.snapshot()["ended"]) == REMEMBERED
    assert dict(orders.view("a")) == {}


def test_a_fill_of_nobodys_still_counts_for_the_order_it_names() -> None:
    manager, intent, view = watched()
    fill = fill_of(intent, qty=0.4)

    manager.on_event(FillEvent(fill.order_id, SYMBOL, "sell", 0.4, 8.0, 0.0, 5))

    assert view[intent.intent_id].open_lots == 60


def test_another_strategys_cancel_does_not_look_like_ones_own() -> None:
    orders = OpenOrders(INSTRUMENTS)
    orders.learn(OrderIntent("a", SYMBOL, "buy", "market", 1.0, intent_id="i-1"))

    orders.learn(OrderCancel(ids.order_id("i-1"), SYMBOL, "b", 9))

    assert [order.cancel_requested for order in orders.view("a").values()] == [False]
