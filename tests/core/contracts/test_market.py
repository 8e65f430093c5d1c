"""Market data contracts: immutable, type-checked, and plain JSON values on demand."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from math import inf, nan
from typing import Any

import pytest

from core.contracts import (
    LATEST_NS,
    BboEvent,
    BookEvent,
    ClockTick,
    Contract,
    FeedGap,
    FeedStatus,
    OHLCVBar,
    TickerEvent,
    TradeEvent,
    known_fields,
)  # fmt: skip
from core.errors import ContractError, RejectedError
from tests.support.contract_samples import CONTRACTS, NAMES, SAMPLE_OF

TRADE = SAMPLE_OF[TradeEvent]
BOOK = SAMPLE_OF[BookEvent]
TICKER = SAMPLE_OF[TickerEvent]
BAR = SAMPLE_OF[OHLCVBar]


@pytest.mark.parametrize("contract", CONTRACTS, ids=NAMES)
def test_no_field_can_be_set_after_construction(contract: type[Contract]) -> None:
    event = SAMPLE_OF[contract]
    for each in fields(event):
        with pytest.raises(FrozenInstanceError):
            setattr(event, each.name, getattr(event, each.name))


@pytest.mark.parametrize("contract", CONTRACTS, ids=NAMES)
def test_a_contract_has_slots_and_takes_no_new_attribute(contract: type[Contract]) -> None:
    assert "__slots__" in contract.__dict__
    with pytest.raises((AttributeError, TypeError)):  # a frozen slotted class raises either
        SAMPLE_OF[contract].surprise = 1


@pytest.mark.parametrize("contract", CONTRACTS, ids=NAMES)
def test_the_dictionary_has_every_field_in_declared_order_and_gives_the_event_back(contract: type[Contract]) -> None:
    event = SAMPLE_OF[contract]
    plain = event.to_dict()
    assert list(plain) == list(known_fields(contract))  # type: ignore[arg-type]  # a class is hashable
    assert contract.from_dict(plain) == event


@pytest.mark.parametrize("contract", CONTRACTS, ids=NAMES)
def test_every_field_refuses_a_value_of_another_type(contract: type[Contract]) -> None:
    plain = SAMPLE_OF[contract].to_dict()
    for name in plain:
        with pytest.raises(ContractError, match=contract.__name__):
            contract.from_dict(plain | {name: object()})


@pytest.mark.parametrize("contract", CONTRACTS, ids=NAMES)
def test_a_key_nobody_knows_is_refused_with_those_expected(contract: type[Contract]) -> None:
    with pytest.raises(ContractError, match="unknown field pirce; expected "):
        contract.from_dict(SAMPLE_OF[contract].to_dict() | {"pirce": 1})


@pytest.mark.parametrize("payload", [None, [1], 3, "text"])
def test_what_is_no_object_is_refused(payload: Any) -> None:
    with pytest.raises(ContractError, match="TradeEvent: expected an object, got "):
        TradeEvent.from_dict(payload)


def test_a_key_that_is_no_text_is_refused() -> None:
    with pytest.raises(ContractError, match="unknown field 1"):
        TradeEvent.from_dict({1: 2})  # type: ignore[dict-item]  # that is the point


@pytest.mark.parametrize("wrong", [0.0, -1.0, nan, inf, -inf])
@pytest.mark.parametrize("name", ["price", "qty"])
def test_price_and_quantity_of_a_trade_are_finite_and_above_zero(name: str, wrong: float) -> None:
    with pytest.raises(ContractError, match=rf"TradeEvent\.{name}: expected a finite number above 0, got {wrong}"):
        replace(TRADE, **{name: wrong})


@pytest.mark.parametrize(
    ("event", "name", "wrong"),
    [
        (TRADE, "symbol", ""), (TRADE, "side", "hold"), (TRADE, "ts", 0), (TRADE, "ts", LATEST_NS + 1),
        (TRADE, "ts_recv_ns", -1), (TRADE, "ts_recv_ns", LATEST_NS + 1), (BOOK, "ts", -1), (BOOK, "symbol", ""),
        (TICKER, "bid", 0.0), (TICKER, "ask", nan), (TICKER, "last", -1.0), (TICKER, "volume", inf),
        (TICKER, "ts", LATEST_NS + 1), (BAR, "volume", -1.0), (BAR, "ts_close", 0), (BAR, "ts_open", -1),
        (SAMPLE_OF[ClockTick], "ts", 0), (SAMPLE_OF[ClockTick], "ts", 10**30),
        (SAMPLE_OF[FeedStatus], "state", "dozing"), (SAMPLE_OF[FeedStatus], "channel", "gossip"),
        (SAMPLE_OF[FeedGap], "last_id", 2),
    ],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_by_its_name(event: Any, name: str, wrong: object) -> None:
    with pytest.raises(ContractError, match=rf"{type(event).__name__}\.{name}: expected .+, got "):
        replace(event, **{name: wrong})


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        (((100.0, 1.0),), ((100.0, 1.0),)),
        (((101.0, 1.0),), ((100.0, 1.0),)),
        (((98.0, 1.0), (99.0, 1.0)), ()),
        ((), ((101.0, 1.0), (100.0, 1.0))),
        (((99.0, 1.0), (99.0, 2.0)), ()),
        (((99.0, 0.0),), ()),
        ((), ((nan, 1.0),)),
    ],
    ids=["locked", "crossed", "bids upwards", "asks downwards", "a price twice", "empty level", "no number"],
)
def test_a_book_is_ordered_from_the_best_price_and_never_crossed(bids: Any, asks: Any) -> None:
    with pytest.raises(ContractError, match=r"BookEvent\.(bids|asks)"):
        BookEvent("BTC/USDT", bids, asks, 0)


@pytest.mark.parametrize("name", ["open", "high", "low", "close"])
@pytest.mark.parametrize("wrong", [nan, inf, -1.0, 99.0])
def test_a_bar_holds_open_and_close_between_low_and_high(name: str, wrong: float) -> None:
    if (name, wrong) == ("high", 99.0):
        return  # a higher high is fine
    with pytest.raises(ContractError, match=r"OHLCVBar\.(high|low)"):
        replace(BAR, **{name: wrong})


def test_a_refusal_is_a_rejection_and_a_value_error() -> None:
    with pytest.raises(ContractError) as caught:
        TradeEvent("", 1.0, 1.0, "buy", 1)
    assert isinstance(caught.value, RejectedError)
    assert isinstance(caught.value, ValueError)


def test_the_time_of_each_fact_is_its_own_timestamp() -> None:
    assert [SAMPLE_OF[contract].ts_ns for contract in CONTRACTS] == [
        1_700_000_000_000_000_000, 5, 5, 5, 9, 9, 1_000_000_000, 60, 5, 5, 5, 5, 5, 6, 6, 6,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"symbol": ""}, "symbol"),
        ({"bid_price": 0.0}, "bid_price"),
        ({"ask_price": float("nan")}, "ask_price"),
        ({"ask_qty": -1.0}, "ask_qty"),
        ({"bid_qty": float("inf")}, "bid_qty"),
        ({"bid_price": 100.0}, "bid_price: expected a best bid below the best ask 100.0, got 100.0"),
        ({"ts": -1}, "ts"),
    ],
)
def test_a_best_bid_and_offer_that_no_venue_has_is_refused(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ContractError, match=rf"BboEvent\.{field}"):
        replace(SAMPLE_OF[BboEvent], **change)
