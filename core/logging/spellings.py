"""The spellings of a secret: one pattern for the raw, percent-encoded, escaped (``repr``, JSON) and HTML forms."""

from __future__ import annotations

import html
import re
import string
from itertools import groupby
from typing import Final

_AS_THEY_ARE: Final = frozenset(string.ascii_letters + string.digits + "_.-~")  # nothing encodes or escapes these
_ESCAPED_BY_A_BACKSLASH: Final = frozenset("'\"/")
_LETTER_ESCAPES: Final = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v", "\a": "a"}
_BYTE: Final = 0xFF
_BASIC_PLANE: Final = 0xFFFF


def pattern_of(secret: str) -> str:
    """A regular expression for every spelling of a secret, mixed ones included. Linear in its length."""
    return "".join(_run(character, len(list(run))) for character, run in groupby(secret))


def _run(character: str, length: int) -> str:
    if character == "\\":  # repeated escaping multiplies them; one quantifier for the run keeps matching fast
        return rf"(?:\\{{{length},}}|(?:(?i:%5c)){{{length}}}|(?:\\{{1,8}}(?i:x5c|u005c)){{{length}}})"
    return _character(character) * length


def _character(character: str) -> str:
    if character in _AS_THEY_ARE:
        return re.escape(character)
    code, encoded = ord(character), character.encode("utf-8", "surrogatepass")
    raw = re.escape(character)
    if character in _ESCAPED_BY_A_BACKSLASH:
        raw = rf"\\{{0,8}}{raw}"
    # The longer spelling comes first where another one is its beginning: %25 before %, \\x5c before \.
    spellings = ["(?i:" + "".join(f"%{byte:02x}" for byte in encoded) + ")", raw]
    if character == " ":
        spellings.append(r"\+")
    if character in _LETTER_ESCAPES:
        spellings.append(rf"\\{{1,8}}{_LETTER_ESCAPES[character]}")
    spellings.append("".join(rf"\\{{1,8}}(?i:x{byte:02x})" for byte in encoded))
    spellings += _numeric(code)
    entity = html.escape(character)
    if entity != character:
        spellings = [re.escape(entity), f"&#{code};", f"(?i:&#x{code:x};)", *spellings]
    return f"(?:{'|'.join(dict.fromkeys(spellings))})"


def _numeric(code: int) -> list[str]:
    """The escapes by number that Python and JSON write."""
    if code > _BASIC_PLANE:
        high, low = divmod(code - 0x10000, 0x400)
        return [rf"\\{{1,8}}(?i:u{0xD800 + high:04x})\\{{1,8}}(?i:u{0xDC00 + low:04x})", rf"\\{{1,8}}(?i:U{code:08x})"]
    escapes = [rf"\\{{1,8}}(?i:u{code:04x})"]
    return [*escapes, rf"\\{{1,8}}(?i:x{code:02x})"] if code <= _BYTE else escapes
