"""The Redis address: one reading of ``redis.url`` for the configuration check, the daemons and the commands.

Its error texts quote no part of the address: a piece that cannot be read may be a piece of the password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from core.errors import ConfigError

EXAMPLE: Final = "redis://127.0.0.1:6379/0"
DEFAULT_PORT: Final = 6379
_UNIX: Final = "unix"
_MASK: Final = "***"
_PARTS: Final = re.compile(r"(rediss?|unix)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_HOST: Final = re.compile(r"(\[[0-9A-Za-z:.%]+\]|[^\s:@\[\]%\\]+)(:.*)?", re.DOTALL)
_NUMBER: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_LAST_PORT: Final = 65_535
_TLS: Final = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_check_hostname")
_COMMON: Final = ("db", "username", "password")
_SECRET_OPTIONS: Final = ("password", "ssl_password")


class RedisAddressError(ConfigError, ValueError):
    """A Redis address that cannot be used; the text says what was expected and quotes nothing of the address."""

    def __init__(self, requirement: str) -> None:
        self.expectation = f"expected an address such as {EXAMPLE}, with {requirement}"
        super().__init__(f"redis.url: {self.expectation}")


@dataclass(frozen=True, slots=True, repr=False)
class RedisAddress:
    """A Redis server and the account to use there.

    Attributes:
        scheme: ``redis``, ``rediss`` (with TLS) or ``unix``.
        host: its name or IP address, an IPv6 one in brackets; empty for ``unix``.
        port: its TCP port; 0 for ``unix``.
        path: the socket's path for ``unix``; empty otherwise.
        database: the number of the database.
        username: the account's name, empty for the default account.
        password: the account's password, decoded; empty for none.
        options: the TLS options, in order.
        raw_password: the password as it was spelt in the address.
    """

    scheme: str
    host: str
    port: int
    path: str
    database: int
    username: str
    password: str
    options: tuple[tuple[str, str], ...]
    raw_password: str

    @classmethod
    def parse(cls, text: str) -> RedisAddress:
        """The address that a text spells. Raises RedisAddressError."""
        parts = _PARTS.fullmatch(text)
        if parts is None:
            raise RedisAddressError("redis://, rediss:// or unix:// in front")
        if not _is_unicode(text):
            raise RedisAddressError("characters that are valid Unicode")
        scheme, authority, path, query, fragment = parts.groups(default="")
        if fragment or ("@" not in authority and "@" in path):
            raise RedisAddressError("`/`, `?` and `#` in a user name or password written as %2F, %3F and %23")
        userinfo, _, place = authority.rpartition("@")
        username, _, password = userinfo.partition(":")
        options = _options(query.removeprefix("?"), scheme)
        host, port = ("", 0) if scheme == _UNIX else _host_and_port(place)
        if scheme == _UNIX and (place or len(path) < 2):  # a slash and a name
            raise RedisAddressError("an absolute path behind unix://, such as unix:///run/redis.sock")
        for name, account in (("username", username), ("password", password)):
            if account and name in options:
                raise RedisAddressError(f"one {name}, in front of the host or as an option, not both")
        return cls(
            scheme,
            host,
            port,
            _decoded(path) if scheme == _UNIX else "",
            _database("" if scheme == _UNIX else path, options),
            _decoded(username) or options.get("username", ""),
            _decoded(password) or options.get("password", ""),
            tuple((name, value) for name, value in options.items() if name not in _COMMON),
            password,
        )

    @property
    def url(self) -> str:
        """The address with the account percent-encoded, for a client that reads URLs. It holds the password."""
        name, word = quote(self.username, safe=""), quote(self.password, safe="")
        return self._url(f"{name}:{word}@" if word else f"{name}@" if name else "", self.options)

    @property
    def shown(self) -> str:
        """The address as it may be shown: the account masked."""
        options = tuple((name, _MASK if name in _SECRET_OPTIONS else value) for name, value in self.options)
        return self._url(f"{_MASK}@" if self.username or self.password else "", options)

    def secrets(self) -> Iterator[str]:
        """The texts that must not be shown: passwords, and a name without one, which often is a misplaced password."""
        yield from (text for text in (self.password, self.raw_password) if text)
        if self.username and not self.password:
            yield self.username
        yield from (value for name, value in self.options if name in _SECRET_OPTIONS)

    def _url(self, account: str, options: tuple[tuple[str, str], ...]) -> str:
        if self.scheme == _UNIX:
            query = urlencode([*([("db", self.database)] if self.database else []), *options], safe="/*")
            place = quote(self.path)
        else:
            query, place = urlencode(options, safe="/*"), f"{self.host}:{self.port}/{self.database}"
        return f"{self.scheme}://{account}{place}{'?' if query else ''}{query}"

    def __repr__(self) -> str:
        return f"RedisAddress({self.shown!r})"


def shown_address(text: str) -> str:
    """A Redis address as it may be shown; one that cannot be read is named, not quoted."""
    try:
        return RedisAddress.parse(text).shown
    except RedisAddressError:
        return "<unreadable Redis address>"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise RedisAddressError("percent-escapes that spell UTF-8") from None


def _host_and_port(place: str) -> tuple[str, int]:
    match = _HOST.fullmatch(place)
    if match is None:
        raise RedisAddressError("a host name or IP address, without spaces, in front of the port")
    host, port = match.groups(default="")
    if not port:
        return host, DEFAULT_PORT
    if not _NUMBER.fullmatch(port[1:]) or not 0 < int(port[1:]) <= _LAST_PORT:
        raise RedisAddressError(f"a port from 1 to {_LAST_PORT:,} behind the host's colon")
    return host, int(port[1:])


def _options(query: str, scheme: str) -> dict[str, str]:
    allowed = (*_COMMON, *(_TLS if scheme == "rediss" else ()))
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise RedisAddressError(
            "options of the form name=value behind the question mark, and `?` in a password as %3F"
        ) from None
    options = dict(pairs)
    if len(options) < len(pairs):
        raise RedisAddressError("each option once")
    if not options.keys() <= set(allowed):
        raise RedisAddressError(f"no options but {', '.join(allowed)}, and `?` in a password as %3F")
    return options


def _database(path: str, options: dict[str, str]) -> int:
    numbers = [text for text in (path.removeprefix("/"), options.get("db")) if text]
    if len(numbers) > 1:
        raise RedisAddressError("the database once, as a path or as the option db")
    if not numbers:
        return 0
    if not _NUMBER.fullmatch(numbers[0]):
        raise RedisAddressError("a database number behind the host, such as /0")
    return int(numbers[0])
