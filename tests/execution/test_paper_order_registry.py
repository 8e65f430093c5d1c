"""Which orders a venue remembers, and for how long."""

from __future__ import annotations

import pytest

from core.errors import ContractError
from execution.order_registry import REMEMBERED, OrderRegistry
from tests.support.paper_orders import BTC, order


def test_an_id_never_opens_twice() -> None:
    registry = OrderRegistry()
    registry.open(order("buy", 1), BTC)
    with pytest.raises(ContractError, match="an id that was used"):
        registry.open(order("buy", 1), BTC)

    registry.finish(order("buy", 1).order_id)

    with pytest.raises(ContractError, match="an id that was used"):
        registry.open(order("buy", 1), BTC)


def test_an_order_fills_no_further_than_its_quantity() -> None:
    opened = OrderRegistry().open(order("buy", 0.005), BTC)
    opened.add(3, 100)

    with pytest.raises(ContractError, match="expected a fill of 1 to 2 lots, got 3"):
        opened.add(3, 100)


def test_finished_orders_are_remembered_up_to_a_limit_the_latest_longest() -> None:
    registry = OrderRegistry()
    for number in range(REMEMBERED + 1):
        registry.finish(f"o-{number}")

    assert not registry.knows("o-0")
    assert registry.knows("o-1")
    assert len(registry.snapshot()["finished"]) == REMEMBERED


def test_an_early_cancel_is_forgotten_once_it_met_its_order() -> None:
    registry = OrderRegistry()
    registry.cancel_later("o-1")
    registry.cancel_later("o-2")
    assert registry.canceled_early("o-1")

    registry.finish("o-1")

    assert not registry.canceled_early("o-1")
    assert registry.snapshot()["early_cancels"] == ["o-2"]
