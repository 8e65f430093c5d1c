"""The Redis address: what is read, what is refused, and that no error quotes any of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio.connection import parse_url

from core.redis_address import RedisAddress, RedisAddressError, shown_address

CORE = "LongSecret"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
        ("redis://127.0.0.1:1/", "redis://127.0.0.1:1/0"),
        ("redis://h:1?db=3", "redis://h:1/3"),
        ("redis://[::1]:7/2", "redis://[::1]:7/2"),
        ("rediss://h/1?ssl_cert_reqs=none", "rediss://h:6379/1?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock?db=4", "unix:///run/redis.sock?db=4"),
        ("redis://:pw@h", "redis://***@h:6379/0"),
        ("redis://user:p@w@h:1/0", "redis://***@h:1/0"),
        ("redis://user@h", "redis://***@h:6379/0"),
        ("redis://h/0?password=pw", "redis://***@h:6379/0"),
        ("rediss://h?ssl_password=pw", "rediss://h:6379/0?ssl_password=***"),
    ],
)
def test_an_address_is_shown_with_its_defaults_and_without_its_account(text: str, shown: str) -> None:
    address = RedisAddress.parse(text)
    assert (address.shown, repr(address)) == (shown, f"RedisAddress({shown!r})")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://h", "redis://, rediss:// or unix:// in front"),
        ("redis:/h", "redis://, rediss:// or unix:// in front"),
        ("redis://", "a host name"),
        ("redis:// ", "a host name"),
        ("redis://h h", "a host name"),
        ("redis://:6379", "a host name"),
        ("redis://127.0.0.1:notaport/0", "a port from 1 to 65,535"),
        ("redis://127.0.0.1:99999/0", "a port from 1 to 65,535"),
        ("redis://127.0.0.1:0/0", "a port from 1 to 65,535"),
        ("redis://127.0.0.1:٣/0", "a port from 1 to 65,535"),
        ("redis://h:1/abc", "a database number"),
        ("redis://h:1/0/1", "a database number"),
        ("redis://h:1/-1", "a database number"),
        ("redis://h:1/1?db=2", "the database once"),
        ("redis://h?socket_timeout=1", "no options but db, username, password"),
        ("redis://h?db", "options of the form name=value"),
        ("redis://h?db=1&db=2", "each option once"),
        ("redis://:a@h?password=b", "one password"),
        ("redis://:Zq/9@h:1/0", "written as %2F, %3F and %23"),
        ("redis://:Zq#9@h:1/0", "written as %2F, %3F and %23"),
        ("redis://:Zq?9@h:1/0", "`?` in a password as %3F"),
        ("redis://:%ff@h", "percent-escapes that spell UTF-8"),
        ("redis://:\udc80@h", "valid Unicode"),
        ("unix://h/run", "an absolute path"),
        ("unix://", "an absolute path"),
    ],
)
def test_an_address_that_cannot_be_meant_is_refused_with_what_was_expected(text: str, expected: str) -> None:
    with pytest.raises(
        RedisAddressError, match=r"redis\.url: expected an address such as redis://127\.0\.0\.1"
    ) as refusal:
        RedisAddress.parse(text)
    assert expected in str(refusal.value)
    assert shown_address(text) == "<unreadable Redis address>"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text("abcxyz09._-", min_size=0))
def test_the_client_gets_the_password_that_was_meant(password: str, username: str) -> None:
    from urllib.parse import quote

    address = RedisAddress.parse(f"redis://{username}:{quote(password, safe='')}@h:7/3")

    assert address.password == password
    account = {"username": username, "password": password} if username else {"password": password}
    assert parse_url(address.url) == {**account, "host": "h", "port": 7, "db": 3}


def test_the_client_gets_socket_and_database() -> None:
    options = parse_url(RedisAddress.parse("unix://:p%40@/run/a%20b.sock?db=4").url)
    del options["connection_class"]
    assert options == {"password": "p@", "path": "/run/a b.sock", "db": 4}


@given(st.text(), st.text(), st.sampled_from(["redis://", "rediss://", "unix://", ""]), st.sampled_from([":", "@", ""]))
def test_no_error_quotes_any_piece_of_the_address(before_it: str, after_it: str, scheme: str, separator: str) -> None:
    text = f"{scheme}{before_it}{separator}{CORE}{after_it}"

    refusal, shown, place = "", "", ""
    try:
        address = RedisAddress.parse(text)
        shown, place = address.shown, address.host + address.path
    except RedisAddressError as error:
        refusal = str(error)

    assert CORE not in refusal
    assert CORE in place or CORE not in shown
