"""Risk and trading contracts: what an order may not be, and that a denial says why."""

from __future__ import annotations

from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from core.contracts import (
    LATEST_NS,
    MAX_NESTING,
    TERMINAL,
    DenialCode,
    FeedGap,
    FillEvent,
    OrderCancel,
    OrderEvent,
    OrderIntent,
    OrderUpdate,
    PositionSnapshot,
    RiskDecision,
    RiskState,
)  # fmt: skip
from core.errors import ContractError
from tests.support.contract_samples import SAMPLE_OF

INTENT, ORDER, UPDATE = SAMPLE_OF[OrderIntent], SAMPLE_OF[OrderEvent], SAMPLE_OF[OrderUpdate]
DENIAL, FILL, POSITION = SAMPLE_OF[RiskDecision], SAMPLE_OF[FillEvent], SAMPLE_OF[PositionSnapshot]


@pytest.mark.parametrize("order", [INTENT, ORDER, UPDATE], ids=["intent", "order", "update"])
@pytest.mark.parametrize(
    ("name", "wrong"),
    [("symbol", ""), ("side", "hold"), ("type", "stop"), ("qty", 0.0), ("qty", -1.0), ("qty", nan), ("qty", inf),
     ("limit_price", -1.0), ("limit_price", nan)],
)  # fmt: skip
def test_intent_order_and_update_have_the_shape_of_an_order(order: Any, name: str, wrong: object) -> None:
    with pytest.raises(ContractError, match=rf"{type(order).__name__}\.{name}: expected"):
        replace(order, **{name: wrong})


@pytest.mark.parametrize("order", [INTENT, ORDER, UPDATE], ids=["intent", "order", "update"])
def test_a_limit_order_needs_its_price(order: Any) -> None:
    with pytest.raises(ContractError, match="expected a price on a limit order"):
        replace(order, type="limit", limit_price=None)


@pytest.mark.parametrize(
    ("event", "name", "wrong"),
    [
        (INTENT, "strategy_id", ""), (INTENT, "ts_local_ns", -1), (DENIAL, "intent_id", ""), (DENIAL, "reason", ""),
        (DENIAL, "caps", {"cap": nan}), (DENIAL, "caps", {"cap": inf}), (DENIAL, "ts_decided_ns", LATEST_NS + 1),
        (ORDER, "intent_id", ""), (ORDER, "ts_accepted_ns", -1), (UPDATE, "order_id", ""), (UPDATE, "filled_qty", -1.0),
        (UPDATE, "avg_price", nan), (UPDATE, "status", "lost"), (FILL, "order_id", ""), (FILL, "price", 0.0),
        (FILL, "qty", -1.0), (FILL, "fee", nan), (FILL, "liquidity", "none"), (FILL, "ts_fill_ns", -1),
        (POSITION, "qty", nan), (POSITION, "realized_pnl", inf), (POSITION, "fees_paid", nan),
        (POSITION, "mark_price", -1.0), (SAMPLE_OF[OrderCancel], "order_id", ""),
        (SAMPLE_OF[OrderCancel], "ts_requested_ns", -1), (SAMPLE_OF[RiskState], "ts_changed_ns", 10**20),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_its_name(event: Any, name: str, wrong: object) -> None:
    with pytest.raises(ContractError, match=rf"{type(event).__name__}\.{name}.*: expected .+, got "):
        replace(event, **{name: wrong})


def test_a_rebate_is_a_negative_fee_and_a_short_is_a_negative_position() -> None:
    assert replace(FILL, fee=-0.01).fee == -0.01
    assert POSITION.to_dict()["qty"] == -0.5


@pytest.mark.parametrize("event", [INTENT, ORDER, FILL], ids=["intent", "order", "fill"])
def test_meta_is_nested_at_most_so_deep_that_every_reader_can_follow(event: Any) -> None:
    value: Any = 1
    for _ in range(MAX_NESTING - 1):
        value = {"in": [value]} if _ % 2 else [value]
    deep: Any = {"a": value}
    for _ in range(MAX_NESTING):
        deep = {"a": deep}
    with pytest.raises(ContractError, match=rf"\.meta: expected values nested at most {MAX_NESTING} deep"):
        replace(event, meta=deep)
    assert replace(event, meta={"a": [[{"b": 1}]]}).meta == {"a": [[{"b": 1}]]}


def test_meta_that_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    with pytest.raises(ContractError, match="nested"):
        replace(INTENT, meta=loop)


def test_a_misspelt_key_inside_the_decision_of_an_order_is_refused() -> None:
    plain = ORDER.to_dict()
    plain["decision"]["alowed"] = True
    with pytest.raises(ContractError, match="RiskDecision: unknown field alowed"):
        OrderEvent.from_dict(plain)


def test_a_denial_code_outside_the_catalogue_is_refused() -> None:
    with pytest.raises(ContractError, match="RiskDecision"):
        RiskDecision.from_dict(DENIAL.to_dict() | {"code": "BECAUSE"})
    assert RiskDecision.from_dict(DENIAL.to_dict()).code is DenialCode.PER_ORDER_CAP


def test_only_terminal_states_are_done() -> None:
    done = {state: replace(UPDATE, status=state).done for state in ("open", "partially_filled", *TERMINAL)}
    assert done == {"open": False, "partially_filled": False, "filled": True, "canceled": True, "rejected": True}


def test_a_gap_counts_both_its_ends() -> None:
    assert FeedGap("A/B", "v", 3, 5, 1, "").missing == 3
