"""Identities: the same cause gives the same id, different causes different ones, each fit for a venue."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids
from core.errors import ContractError

STEM = "urmgycsv3ehsl5fs"  # ids stand in journals that are kept: a change here breaks them
VENUE_ID = re.compile(r"[a-z0-9-]{1,36}")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_one_stem_runs_through_the_life_of_an_order() -> None:
    intent = ids.intent_id("s1", "17", 0)
    stem = intent.removeprefix("i-")
    assert ids.decision_id(intent) == f"d-{stem}"
    assert ids.order_id(intent) == f"o-{stem}"
    assert ids.fill_id(ids.order_id(intent), 2) == f"f-{stem}-2"


def test_ids_never_change_between_releases() -> None:
    assert ids.intent_id("s1", "17", 0) == "i-" + ids.stem("s1", "17", "0")
    assert ids.stem("s1", "17", "0") == STEM


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=4))
def test_different_parts_give_different_stems(one: list[str], other: list[str]) -> None:
    assert (ids.stem(*one) == ids.stem(*other)) == (one == other)


@given(texts, texts, st.integers(0, 9), st.integers(1, 9_999))
def test_every_id_is_a_client_order_id_that_venues_take(strategy: str, cause: str, index: int, count: int) -> None:
    intent = ids.intent_id(strategy, cause, index)
    for made in (intent, ids.decision_id(intent), ids.order_id(intent), ids.fill_id(ids.order_id(intent), count)):
        assert VENUE_ID.fullmatch(made)


@given(texts.filter(bool))
def test_an_id_typed_by_hand_becomes_one_that_venues_take(foreign: str) -> None:
    assert VENUE_ID.fullmatch(ids.order_id(foreign))
    assert ids.order_id(foreign) == ids.order_id(foreign)


@pytest.mark.parametrize(
    "foreign", ["a-0000000000000001", "b-0000000000000001", "i-ABCDEFGHIJKLMNOP", "i-äöüäöüäöüäöüäöüä"]
)
def test_an_id_that_only_looks_like_one_of_ours_shares_its_order_with_nobody(foreign: str) -> None:
    others = {f"{prefix}-{foreign[2:].lower()}" for prefix in "abiox"} - {foreign}
    assert VENUE_ID.fullmatch(ids.order_id(foreign))
    assert ids.order_id(foreign) not in {ids.order_id(other) for other in others}


def test_nothing_is_derived_from_no_id() -> None:
    with pytest.raises(ContractError, match="non-empty id"):
        ids.order_id("")
