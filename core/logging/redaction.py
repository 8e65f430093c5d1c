"""The masking of secrets in texts and values, for the log pipeline and for error messages.

A secret that the process has loaded is masked by its value, in every spelling. The names of keys and the forms of
tokens are a second net, for secrets of others. A masked value shows ``***`` and nothing of its length.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Final
from urllib.parse import unquote

from core.logging.spellings import pattern_of

MASK: Final = "***"
MAX_DEPTH: Final = 8  # of nested values that are shown
MAX_VALUES: Final = 10_000  # that are shown of one object
_JSON_INT: Final = 2**63 - 1
SHORTEST_IN_TEXT: Final = 6  # characters; a shorter secret would blot out innocent text: it is masked standing alone

_SECRET_NAME: Final = re.compile(
    r"secret|passw|passphrase|credential|mnemonic|authori[sz]ation|bearer"
    r"|(?:api|private|access|age|signing|master)[-_. ]?key"
    r"|(?:^|[^a-z])(?:token|cookie|signature|pwd|jwt|seed_?phrase)(?:$|[^a-z])"
)
_WORD_BORDER: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# Each pattern keeps its first group and masks the rest of the match.
_IN_TEXT: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(\b[a-z][a-z0-9+.-]*://)[^/\s]+@",
        r"(\b(?:bearer|basic)\s+)[a-z0-9._~+/=-]{16,}",
        r"(\bhttps://(?:hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks)/)[^\s\"']+",
        r"((?:api[-_]?key|secret[-_]?key|secret|password|passwd|passphrase|token|signature|x-mbx-apikey)"
        r"[\"']?\s*[:=]\s*[\"']?)(?!\*\*\*)[^\s\"'&,;})\]]+",
        r"()AGE-SECRET-KEY-(?:PQ-)?1[a-z0-9]+",
        r"()\beyJ[a-z0-9_-]{8,}\.[a-z0-9_-]{8,}\.[a-z0-9_-]*",
        r"()-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    )
)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """True if a key of this name holds a secret: ``api_key``, ``apiSecret``, ``X-Auth-Token``, ``password2``."""
    return bool(_SECRET_NAME.search(_WORD_BORDER.sub("_", name).lower()))


def redact_text(text: str) -> str:
    """The text with everything masked that has the form of a secret: bearer tokens, credentials in URLs, keys."""
    for pattern in _IN_TEXT:
        text = pattern.sub(_masked, text)
    return text


def _masked(match: re.Match[str]) -> str:
    tail = "@" if match[0].endswith("@") and "://" in match[1] else ""
    return f"{match[1]}{MASK}{tail}"


class KnownSecrets:
    """The secrets this process has loaded, to be masked wherever they turn up, however they are quoted there."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        spelt = [form for value in values if value for form in (value, unquote(value))]
        self._exact = frozenset(map(_printable, spelt))
        inside = sorted((v for v in set(spelt) if len(v) >= SHORTEST_IN_TEXT), key=lambda v: (-len(v), v))
        self._inside = re.compile("|".join(map(pattern_of, inside))) if inside else None

    def redact_text(self, text: str) -> str:
        """The text with the known secrets masked, then with everything masked that has the form of one."""
        text = _printable(text)
        if text in self._exact:
            return MASK
        if self._inside is not None:
            text = self._inside.sub(MASK, text)
        return redact_text(text)

    def redact(self, value: Any, *, unlimited: bool = False) -> Any:
        """The value as plain JSON values with secrets masked, by their value, the name of their key, or their form.

        Takes any object and never raises: what cannot be shown is named by its type.

        Args:
            unlimited: show all of it, however much that is; only for a value that has an end.
        """
        limits = (sys.maxsize, sys.maxsize) if unlimited else (MAX_DEPTH, MAX_VALUES)
        return _Walk(self, *limits).to_json(value, 0)

    def is_secret_number(self, value: float) -> bool:
        """True if a number is a known secret, such as a PIN; short ones are too common to be masked."""
        text = repr(value)
        return len(text) >= SHORTEST_IN_TEXT and text in self._exact


class _Walk:
    """One passage through a value, which may be endless: it stops at a depth and at a number of values."""

    def __init__(self, secrets: KnownSecrets, depth: int, values: int) -> None:
        self._text = secrets.redact_text
        self._is_secret = secrets.is_secret_number
        self._depth = depth
        self._remaining = values

    def to_json(self, value: Any, depth: int) -> Any:
        self._remaining -= 1
        if isinstance(value, str):
            return self._text(str(value))
        if value is None or isinstance(value, bool):
            return value
        if type(value) in (int, float):
            if self._is_secret(value):
                return MASK
            return value if -_JSON_INT <= value <= _JSON_INT else repr(value)  # nan and the infinities too
        if depth >= self._depth or self._remaining <= 0:
            return f"<{type(value).__name__}, too much to show>"
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        fields = getattr(type(value), "__dataclass_fields__", None) or getattr(type(value), "_fields", None)
        if fields:
            return self._mapping({name: getattr(value, name, None) for name in fields}, depth)
        if isinstance(value, list | tuple):
            return [self.to_json(item, depth + 1) for item in value]
        if isinstance(value, set | frozenset):
            return [self.to_json(item, depth + 1) for item in sorted(value, key=_repr)]
        return self._object(value, depth)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else _repr(key)
            hide = is_secret_name(name) and item is not None and not isinstance(item, bool)
            shown[self._text(name)] = MASK if hide else self.to_json(item, depth + 1)
        return shown

    def _object(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.to_json(value.value, depth + 1)
        if isinstance(value, datetime | date):
            return value.isoformat()
        if isinstance(value, bytes | bytearray):
            return self._text(bytes(value).decode("utf-8", "backslashreplace"))
        return self._text(str(value) if isinstance(value, Decimal | PurePath) else _repr(value))


def _printable(text: str) -> str:
    """The text as UTF-8 can hold it: file names may contain bytes that are none."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001  # repr runs foreign code, and a log line must not stop a daemon
        return f"<{type(value).__name__}, repr raised {type(error).__name__}>"
