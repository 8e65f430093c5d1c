"""The spellings of a secret: however it was quoted on its way into a text, it is masked there."""

from __future__ import annotations

import html
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.logging.redaction import MASK, KnownSecrets

secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=30)


@given(secrets)
@example("Zq'9LongSecret")
@example("both'and\"quotes")
@example("back\\slash\\\\es\\")
@example("tab\tand\nnewline\x00\x7f")
@example("ключ-от-биржи")
@example("\U0001f511\U0001f511\U0001f511\U0001f511\U0001f511\U0001f511")
@example("100%25%41%zz")
@example("ends with %")
def test_a_secret_is_masked_in_every_spelling(secret: str) -> None:
    spellings = {
        "raw": secret,
        "percent": quote(secret, safe=""),
        "percent, slashes kept": quote(secret),
        "percent, lower case": quote(secret, safe="").replace("%2F", "%2f").replace("%3A", "%3a"),
        "form": quote_plus(secret),
        "html": html.escape(secret),
    }
    masking = KnownSecrets([secret])
    for name, spelling in spellings.items():
        assert masking.redact_text(f"refused {spelling} !") == f"refused {MASK} !", name


@given(secrets)
@example("both'and\"quotes")
@example("back\\slash\\\\es\\")
@example("\U0001f511\U0001f511\U0001f511\U0001f511\U0001f511\U0001f511")
def test_a_secret_is_masked_in_every_escaped_text(secret: str) -> None:
    text = f"refused {secret} !"
    escaped = {
        "repr": repr(text),
        "repr of repr": repr(repr(text)),
        "ascii": ascii(text),
        "bytes": repr(text.encode())[1:],
        "json": json.dumps(text),
        "json, unicode": json.dumps(text, ensure_ascii=False),
        "json in json": json.dumps(json.dumps(text)),
    }
    masking = KnownSecrets([secret])
    for name, form in escaped.items():
        assert masking.redact_text(form).strip("\\\"'") == f"refused {MASK} !", name


@pytest.mark.parametrize("secret", ["\\" * 40 + "x", "'" * 40 + "x", '\\"' * 20 + "x"])
def test_a_secret_of_escapes_is_looked_for_in_linear_time(secret: str) -> None:
    text = "\\'\"" * 400 + "\\" * 2_000
    assert KnownSecrets([secret]).redact_text(text) == text  # ends at all


def test_a_secret_that_was_percent_encoded_when_it_was_loaded_is_masked_decoded() -> None:
    assert KnownSecrets(["Zq%409Long"]).redact_text("at Zq@9Long, Zq%409Long") == f"at {MASK}, {MASK}"


def test_a_number_that_is_a_secret_is_masked_as_a_number() -> None:
    assert KnownSecrets(["123456", "7"]).redact({"pin": 123456, "count": 7}) == {"pin": MASK, "count": 7}
