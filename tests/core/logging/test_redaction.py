"""No secret reaches the log, by whatever way it came."""

from __future__ import annotations

import json
import logging
from collections import namedtuple
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from core.config import Config
from core.logging import get_logger
from core.logging.redaction import MASK, KnownSecrets, is_secret_name, redact_text
from tests.support.log_setup import logging_to

SECRET = 'hush"hush/1234'


@dataclass
class Account:
    name: str
    api_secret: str


Login = namedtuple("Login", "user password")


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "apiKey", "API-KEY", "exchange.api_secret", "secret", "clientSecret", "password", "passwd", "pwd"),
        *("token", "auth_token", "accessToken", "Authorization", "X-MBX-APIKEY", "private_key", "cookie", "signature"),
        *("passphrase", "age_key", "mnemonic", "credentials", "bearer"),
    ],
)
def test_a_name_that_marks_a_secret_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["kill_switch_key", "key", "order_id", "tokens_left", "symbol", "designated", "author", "passed", "keys"]
)
def test_an_innocent_name_is_left_alone(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:pw@host:6379/0", "redis://***@host:6379/0"),
        ("redis://:pw@host", "redis://***@host"),
        ("Authorization: Bearer abcdefghijklmnop.qrs", "Authorization: Bearer ***"),
        ("GET /order?symbol=X&signature=deadbeef&timestamp=1", "GET /order?symbol=X&signature=***&timestamp=1"),
        ('{"apiKey": "abc", "symbol": "X"}', '{"apiKey": "***", "symbol": "X"}'),
        ("password=abc, user=x", "password=***, user=x"),
        ("https://hooks.slack.com/services/T0/B0/xyz failed", "https://hooks.slack.com/services/*** failed"),
        ("AGE-SECRET-KEY-1QQQQQQ is it", "*** is it"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.abc_-9", "***"),
        ("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n", "***\n"),
        ("mail to a@b.c about http://host/path@2", "mail to a@b.c about http://host/path@2"),
        ("a basic strategy for bearers of risk", "a basic strategy for bearers of risk"),
    ],
)
def test_a_text_keeps_everything_but_its_secrets(text: str, shown: str) -> None:
    assert redact_text(text) == shown


@pytest.mark.parametrize(
    "fields",
    [
        {"api_key": SECRET},
        {"nested": {"deeper": [{"Token": SECRET}]}},
        {"account": Account("me", SECRET)},
        {"login": Login("me", SECRET)},
        {"value": SecretStr(SECRET)},
        {"config": Config.model_validate({"exchange": {"api_secret": SECRET}})},
        {"text": f"the answer was {SECRET}."},
        {"bytes": SECRET.encode()},
        {SECRET: 1},
        {"error": ValueError(SECRET)},
        {"path": Path(SECRET)},
        {"many": {SECRET, "x"}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_a_loaded_secret_reaches_no_line(tmp_path: Path, fields: dict[str, Any]) -> None:
    with logging_to(tmp_path, secrets=[SECRET]) as (sink, _):
        get_logger("x").info("event", **fields)
        logging.getLogger("y").warning("event %s", fields)
    text = (tmp_path / "app.ndjson").read_text()
    assert (sink.written, sink.lost) == (2, 0)
    assert SECRET not in text
    assert json.dumps(SECRET)[1:-1] not in text


def test_a_secret_in_a_traceback_is_masked(tmp_path: Path) -> None:
    with logging_to(tmp_path, secrets=["hunter2hunter2"]) as (_, lines):
        try:
            raise RuntimeError("refused for hunter2hunter2 with Bearer abcdefghijklmnopqrstuvwxyz")
        except RuntimeError:
            get_logger("x").exception("failed")
        (line,) = lines()
    assert "RuntimeError: refused for *** with Bearer ***" in line["exception"]


def test_a_short_secret_is_masked_where_it_stands_alone() -> None:
    secrets = KnownSecrets(["1"])
    assert secrets.redact({"pin": "1", "order": "o-1"}) == {"pin": MASK, "order": "o-1"}


def test_plain_values_keep_their_meaning() -> None:
    value = {"n": 1, "f": 1.5, "b": True, "z": None, "d": Decimal("1.50"), "t": (1, 2), "s": {2, 1}, "has_token": True}
    shown = KnownSecrets().redact(value)
    assert shown == {"n": 1, "f": 1.5, "b": True, "z": None, "d": "1.50", "t": [1, 2], "s": [1, 2], "has_token": True}


def test_what_has_no_end_is_cut_short() -> None:
    endless: list[Any] = []
    endless.extend([endless] * 50)
    assert len(json.dumps(KnownSecrets().redact(endless))) < 2_000_000


def test_an_object_that_cannot_be_shown_is_named() -> None:
    assert KnownSecrets().redact(Broken()) == "<Broken, repr raised RuntimeError>"


_any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just(object()),
    lambda x: st.lists(x) | st.dictionaries(st.text() | st.integers(), x) | st.tuples(x, x),
    max_leaves=15,
)


@given(_any)
def test_any_value_becomes_json(value: Any) -> None:
    json.dumps(KnownSecrets(["abc"]).redact(value), allow_nan=False).encode()
