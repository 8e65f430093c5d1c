"""The console: readable substitutes for what an encoding lacks."""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.console import adapt_console, readable, write_json


@pytest.mark.parametrize(
    ("text", "substitute"),
    [
        ("1.5 → 2 × 3…", "1.5 -> 2 x 3..."),
        ("≤ 5 µs ± 1 — ∞", "<= 5 us +/- 1 - inf"),
        ("├─ café │ ▁▄█", r"+- caf\xe9 | _-#"),
        ("币安", r"\u5e01\u5b89"),
        ("plain", "plain"),
    ],
)
def test_a_text_keeps_its_meaning_in_ascii(text: str, substitute: str) -> None:
    assert readable(text) == substitute


@pytest.mark.parametrize(
    ("encoding", "written"), [("ascii", r"\xe9 +/- ->"), ("latin-1", "é ± ->"), ("utf-8", "é ± →")]
)
def test_only_the_characters_that_the_encoding_lacks_are_replaced(
    monkeypatch: pytest.MonkeyPatch, encoding: str, written: str
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    adapt_console()
    sys.stdout.write("é ± →")
    assert raw.getvalue().decode(encoding) == written


@given(st.text())
def test_any_text_has_an_ascii_form(text: str) -> None:
    assert readable(text).isascii()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_is_the_same_value_in_any_encoding(text: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    write_json(json.dumps({"text": text}, ensure_ascii=False), stream)
    assert json.loads(raw.getvalue()) == {"text": text}
