"""No password of the configuration is shown: not in a log line, a record, an error text or an answer of a daemon."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bus import RedisBus
from core.config import Config, load_config
from core.config.record import record_config
from core.errors import ConfigError
from core.logging import get_logger
from tests.support.log_setup import logging_to

CORE = "LongSecret"
NOW_NS = 1_704_067_200_000_000_000


# Each place that a password can be put at, by the variables and the file that put it there.
PLACES: dict[str, Callable[[str], tuple[dict[str, str], str]]] = {
    "raw in the URL": lambda p: ({"NJORD_REDIS__URL": f"redis://:{p}@127.0.0.1:1/0"}, ""),
    "encoded in the URL": lambda p: ({"NJORD_REDIS__URL": f"redis://u:{quote(p, safe='')}@127.0.0.1:1/0"}, ""),
    "as the user name": lambda p: ({"NJORD_REDIS__URL": f"redis://{quote(p, safe='')}@127.0.0.1:1/0"}, ""),
    "as an option": lambda p: ({"NJORD_REDIS__URL": f"redis://127.0.0.1:1/0?password={quote(p, safe='')}"}, ""),
    "without a host": lambda p: ({"NJORD_REDIS__URL": f"redis://u:{p.replace('@', '')}"}, ""),
    "as the whole URL": lambda p: ({"NJORD_REDIS__URL": p}, ""),
    "by a reference": lambda p: ({"REDIS_PASSWORD": p}, "redis: {url: 'redis://:${REDIS_PASSWORD}@127.0.0.1:1/0'}"),
    "in the file": lambda p: ({}, f"redis: {{url: {json.dumps('redis://:' + p + '@127.0.0.1:1/0')}}}"),
    "in place of the section": lambda p: ({}, f"redis: {json.dumps('redis://:' + p + '@127.0.0.1:1/0')}"),
    "as a secret key": lambda p: ({"NJORD_EXCHANGE__API_SECRET": p}, ""),
    "as a secret key in a list": lambda p: ({}, f"exchange: {{api_key: [{json.dumps(p)}]}}"),
    "in place of the exchange": lambda p: ({}, f"exchange: {json.dumps(p)}"),
}


@contextmanager
def installation(base: str) -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        (Path(folder) / "config").mkdir()
        (Path(folder) / "config" / "base.yaml").write_text(base)
        yield Path(folder)


def log_everything(config: Config, folder: Path) -> str:
    """Everything a daemon could log of its configuration, as the file has it."""
    bus = RedisBus(config.redis.url)
    with logging_to(folder / "log", secrets=config.secret_values()):
        log = get_logger("daemon")
        for value in (config, config.redis, config.model_dump(), config.redis.url, config.redis.address, bus.url):
            log.warning("value %s", value, value=value, text=f"{value!r}")
            logging.getLogger("library").warning("value %r", value)
        try:
            try:
                raise ConnectionError(f"cannot reach {config.redis.url!r}")
            except ConnectionError as error:
                raise RuntimeError(config.redis.address.password, config.redis.url.encode()) from error
        except RuntimeError:
            log.exception("failed")
            logging.getLogger("library").exception("failed")
    return (folder / "log" / "app.ndjson").read_text()


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(sorted(PLACES)),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)
def test_no_password_is_shown_wherever_it_is_put(place: str, head: str, tail: str) -> None:
    environ, base = PLACES[place](f"{head}{CORE}{tail}")
    with installation(base) as folder:
        try:
            config = load_config(folder, environ=environ)
        except ConfigError as error:
            shown = str(error)
        else:
            path = record_config(config, NOW_NS)
            assert path is not None
            shown = "".join((path.read_text(), repr(config), str(config.shown()), log_everything(config, folder)))
    assert CORE not in shown


@pytest.mark.parametrize("password", ["a", "pw", "12345"])
def test_a_short_password_is_masked_within_its_address(tmp_path: Path, password: str) -> None:
    url = f"redis://:{password}@127.0.0.1:1/0"
    with installation("") as folder:
        config = load_config(folder, environ={"NJORD_REDIS__URL": url})
    with logging_to(tmp_path, secrets=config.secret_values()) as (_, lines):
        get_logger("daemon").warning("cannot reach %s", url)
        (line,) = lines()
    assert f":{password}@" not in line["event"]


def test_a_password_written_with_a_slash_is_refused_with_the_way_to_write_it() -> None:
    with installation("redis:\n  url: redis://:a/b@127.0.0.1:1/0\n") as folder, pytest.raises(ConfigError) as refusal:
        load_config(folder, environ={})
    assert "base.yaml:2: redis.url: expected an address such as redis://127.0.0.1:6379/0, with" in str(refusal.value)
    assert "as %2F" in str(refusal.value)


def test_a_number_in_the_secrets_of_a_session_is_masked_in_its_record(tmp_path: Path) -> None:
    with installation("exchange: {staleness_limit_s: '${VENUE_TOKEN}'}") as folder:
        config = load_config(folder, environ={"VENUE_TOKEN": "123456.5"})
    assert config.exchange.staleness_limit_s == 123456.5
    assert config.shown()["exchange"]["staleness_limit_s"] == "***"


def test_records_and_logs_are_for_their_owner_alone(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        with installation("") as folder:
            config = load_config(folder, environ={})
            record = record_config(config, NOW_NS)
            assert record is not None
            with logging_to(folder / "new" / "log"):
                get_logger("daemon").warning("line")
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode)
                for path in (
                    record,
                    folder / "new" / "log" / "app.ndjson",
                    record.parent,
                    folder / "new",
                    folder / "var",
                )
            }
    finally:
        os.umask(umask)
    assert modes == {record.name: 0o600, "app.ndjson": 0o600, "njord": 0o700, "new": 0o700, "var": 0o700}
