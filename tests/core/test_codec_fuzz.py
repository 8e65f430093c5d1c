"""The codec under attack: what we encode comes back equal, and whatever else comes raises a rejection, nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import codec
from core.codec import NO_META, Meta
from core.contracts import Contract, OrderEvent, OrderIntent, TradeEvent
from core.errors import CodecError, ContractError, RejectedError
from tests.support.contract_samples import CONTRACTS, EVENTS, NAMES, SAMPLE_OF

each_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=NAMES)
few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TRADE = codec.encode(SAMPLE_OF[TradeEvent])


def survives(contract: type[Contract], data: bytes) -> Contract | None:
    """The event, or None for a rejection; anything else raised fails the test."""
    try:
        return codec.decode_message(contract, data)[0]
    except RejectedError:
        return None


@each_contract
@few
@given(data=st.data())
def test_every_event_comes_back_equal_and_encodes_to_the_same_bytes(contract: type[Contract], data: Any) -> None:
    event = data.draw(EVENTS[contract])
    raw = codec.encode(event)
    again = codec.decode(contract, raw)
    assert again == event
    assert codec.encode(again) == raw
    assert b"\n" not in raw
    assert contract.from_dict(event.to_dict()) == event


@few
@given(data=st.data(), producer=st.sampled_from(["md_ingest", "risk_engine"]), seq=st.integers(0, 2**62))
def test_a_message_comes_back_with_its_sender(data: Any, producer: str, seq: int) -> None:
    contract = data.draw(st.sampled_from(CONTRACTS))
    event = data.draw(EVENTS[contract])
    raw = codec.encode_message(event, Meta(producer, seq))
    assert codec.decode_message(contract, raw) == (event, Meta(producer, seq))


@each_contract
def test_a_message_cut_at_any_byte_is_rejected(contract: type[Contract]) -> None:
    raw = codec.encode_message(SAMPLE_OF[contract], Meta("md_ingest", 3))
    for length in range(len(raw)):
        with pytest.raises(RejectedError):
            codec.decode_message(contract, raw[:length])


@each_contract
@few
@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_an_event_or_a_rejection(contract: type[Contract], data: bytes) -> None:
    survives(contract, data)


@each_contract
@few
@given(data=st.data())
def test_arbitrary_json_in_any_field_is_an_event_or_a_rejection(contract: type[Contract], data: Any) -> None:
    plain = SAMPLE_OF[contract].to_dict()
    name = data.draw(st.sampled_from([*plain, "surprise"]))
    value = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.floats())
        | st.dictionaries(st.text(), st.integers()) | st.sampled_from([10**30, -1, 0, "", 1e308, float("nan")])
    )  # fmt: skip
    raw = json.dumps(plain | {name: value}).encode()
    found = survives(contract, raw)
    if found is not None:
        assert name != "surprise"
        assert survives(contract, codec.encode(found)) == found


@each_contract
@few
@given(data=st.data())
def test_one_changed_byte_is_another_event_or_a_rejection(contract: type[Contract], data: Any) -> None:
    raw = bytearray(codec.encode_message(SAMPLE_OF[contract], Meta("md_ingest", 3)))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    found = survives(contract, bytes(raw))
    if found is not None:
        assert survives(contract, codec.encode(found)) == found


@each_contract
def test_a_misspelt_key_is_refused_even_when_nothing_else_tells(contract: type[Contract]) -> None:
    """A key of the same length in place of an optional one leaves a message of the length of a good one."""
    raw = codec.encode(SAMPLE_OF[contract])
    for name in SAMPLE_OF[contract].to_dict():
        wrong = raw.replace(f'"{name}":'.encode(), f'"{"z" * len(name)}":'.encode(), 1)
        with pytest.raises(ContractError):
            codec.decode(contract, wrong)


def test_a_misspelt_optional_key_with_its_default_is_refused() -> None:
    raw = codec.encode(TradeEvent("BTC/USDT", 1.0, 1.0, "buy", 5)).replace(b'"venue":""', b'"veneu":""')
    with pytest.raises(ContractError, match="unknown field veneu"):
        codec.decode(TradeEvent, raw)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (TRADE.replace(b'"qty":0.01', b'"qty":0.01,"qty":9.0'), "got qty twice"),
        (TRADE.replace(b'"price":60000.5', b'"price":NaN'), "malformed"),
        (TRADE.replace(b'"price":60000.5', b'"price":Infinity'), "malformed"),
        (TRADE.replace(b'"price":60000.5', b'"price":1e999'), "out of range"),
        (TRADE.replace(b'"price":60000.5', b'"price":-1'), "price: expected a finite number above 0, got -1"),
        (TRADE.replace(b'"price":60000.5', b'"price":"60000.5"'), "Expected `float`, got `str`"),
        (TRADE.replace(b'"price":60000.5', b'"price":null'), "Expected `float`, got `null`"),
        (TRADE.replace(b'"ts":1700000000000000000', b'"ts":1.5'), "Expected `int`, got `float`"),
        (TRADE.replace(b'"ts":1700000000000000000', b'"ts":' + b"9" * 30), "0 to 2^63-1"),
        (TRADE.replace(b'"ts":1700000000000000000', b'"ts":' + b"9" * 5000), "out of range"),
        (TRADE.replace(b"BTC/USDT", b"\\ud800"), "expected a JSON object"),
        (TRADE.replace(b"BTC/USDT", b"\xff"), "expected a JSON object"),
        (TRADE.replace(b'"qty":0.01', b'"x":' + b"9" * 5000 + b',"qty":0.01'), "TradeEvent"),
        (TRADE.replace(b'"qty":0.01', b'"x":' + b"[" * 500 + b"]" * 500 + b',"qty":0.01'), "unknown field x"),
        (TRADE.replace(b'"qty":0.01', b'"x":' + b"[" * 100_000 + b"]" * 100_000 + b',"qty":0.01'), "TradeEvent"),
        (b"[" * 200_000, "Expected `object`, got `array`"),
        (b"", "expected a JSON object"),
        (b"null", "Expected `object`, got `null`"),
        (TRADE + TRADE, "expected a JSON object"),
        (b"\xef\xbb\xbf" + TRADE, "expected a JSON object"),
    ],
)  # fmt: skip
def test_a_bad_message_is_rejected_with_what_was_expected(raw: bytes, told: str) -> None:
    with pytest.raises(RejectedError) as caught:
        codec.decode(TradeEvent, raw)
    assert told in str(caught.value)
    assert len(str(caught.value)) < 600
    assert "TradeEvent: TradeEvent" not in str(caught.value)


@pytest.mark.parametrize("depth", [17, 100, 900, 1_000, 100_000])
def test_deep_nesting_is_a_rejection_and_no_stack_overflow(depth: int) -> None:
    raw = codec.encode(OrderIntent("s", "A/B", "buy", "market", 1.0))
    deep = raw.replace(b'"meta":{}', b'"meta":{"a":' + b"[" * depth + b"]" * depth + b"}")
    with pytest.raises(RejectedError):
        codec.decode(OrderIntent, deep)
    with pytest.raises(CodecError):
        codec.decode_plain(b"[" * 100_000)


def test_an_unknown_key_inside_the_decision_of_an_order_is_refused() -> None:
    raw = codec.encode(SAMPLE_OF[OrderEvent]).replace(b'"allowed":true', b'"allowed":true,"forged":1')
    with pytest.raises(ContractError, match="RiskDecision: unknown field forged"):
        codec.decode(OrderEvent, raw)


@pytest.mark.parametrize(
    "tail",
    [b',"_producer":"m","_seq":1,"price":5.0}', b',"_producer":"m","_seq":-1}', b',"_producer":"m"}',
     b',"_producer":3,"_seq":1}', b',"_producer":"m","_seq":1}}', b',"_seq":1,"_producer":"m"}'],
)  # fmt: skip
def test_nothing_rides_behind_the_sender(tail: bytes) -> None:
    with pytest.raises(RejectedError):
        codec.decode_message(TradeEvent, TRADE[:-1] + tail)


def test_the_senders_mark_inside_a_text_is_a_text() -> None:
    event = TradeEvent("A/B", 1.0, 1.0, "buy", 1, trade_id='x,"_producer":"y","_seq":1}')
    assert codec.decode_message(TradeEvent, codec.encode(event)) == (event, NO_META)
    intent = OrderIntent("s", "A/B", "buy", "market", 1.0, meta={"_producer": "me", "_seq": 1})
    assert codec.decode_message(OrderIntent, codec.encode(intent)) == (intent, NO_META)


def test_white_space_and_another_order_of_fields_are_fine() -> None:
    plain = SAMPLE_OF[TradeEvent].to_dict()
    raw = json.dumps(dict(reversed(plain.items())), indent=2).encode()
    assert codec.decode(TradeEvent, raw) == SAMPLE_OF[TradeEvent]


def test_a_quoted_message_is_cut_so_that_a_log_line_stays_short() -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode(TradeEvent, b"x" * 100_000)
    assert len(str(caught.value)) < 300
