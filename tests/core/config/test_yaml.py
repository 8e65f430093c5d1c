"""YAML as it is read here: values by the YAML 1.2 core schema, lines of every key, flaws instead of crashes."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.yaml import MAX_DEPTH, parse_yaml, scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-5_000", -5000),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e5", 100_000.0),
        ("1_000.5", 1000.5),
        ("0.00001", 0.00001),
        ("-0.5", -0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("007", "007"),
        ("on", "on"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("0x", "0x"),
        ("+", "+"),
        ("e5", "e5"),
    ],
)
def test_a_plain_scalar_means_what_it_says(text: str, value: object) -> None:
    got = scalar(text)
    assert (got, type(got)) == (value, type(value))


def test_quoted_scalars_are_text() -> None:
    assert parse_yaml("a: '1'\nb: \"true\"\nc: |\n  5\n").value == {"a": "1", "b": "true", "c": "5\n"}


def test_every_key_and_item_knows_its_line() -> None:
    document = parse_yaml("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n")
    assert document.lines == {("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 4, ("a", "c", 1): 5} | {
        ("a", "c", 1, "y"): 5
    }


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("a: 1\na: 2", "key 'a' stands here a second time, first in line 1"),
        ("a: !!python/name:os.system x", "tag"),
        ("a: &x 1\nb: {<<: *x}", "merge keys"),
        ("&a [*a]", "no finished anchor"),
        ("a: *b", "alias *b has no finished anchor"),
        ("? [a]\n: b", "expected a plain word as key"),
        ("a: 1\n---\nb: 2", "expected one document"),
        ("[" * 200_000, f"nested deeper than {MAX_DEPTH} levels"),
        ("a: " + "9" * 5_000, "got 5000 digits"),
        ("a: \x00", "invalid YAML"),
        ("\ud800", "invalid YAML"),
    ],
)
def test_a_flaw_is_told_and_never_raised(text: str, flaw: str) -> None:
    assert flaw in " ".join(found.text for found in parse_yaml(text).flaws)


def test_aliases_that_explode_are_stopped() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9))
    assert "values" in parse_yaml(bomb).flaws[0].text


def test_an_alias_stands_for_its_anchor() -> None:
    assert parse_yaml("a: &x {b: 1}\nc: *x").value == {"a": {"b": 1}, "c": {"b": 1}}


@given(st.text())
def test_any_text_gives_a_document_or_flaws(text: str) -> None:
    assert parse_yaml(text).flaws or parse_yaml(text).value is None or parse_yaml(text).lines is not None


_numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | st.text(st.characters(categories=["L"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_what_json_writes_is_read_back(value: Any) -> None:
    import json

    assert parse_yaml(json.dumps(value, ensure_ascii=False)).value == value


def test_infinity_is_written_as_yaml_writes_it() -> None:
    assert parse_yaml("[.inf, -.inf, Infinity]").value == [float("inf"), float("-inf"), "Infinity"]
