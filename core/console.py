"""The console of a command: standard output and error that take every character, whatever their encoding has.

A character that the encoding lacks, on a terminal without UTF-8 or in a legacy locale, is written as a readable
substitute (``->`` for an arrow), else as an escape such as ``\\u5e01``. JSON keeps its meaning: it is escaped as JSON.
"""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Mapping
from typing import Final, TextIO

_ERRORS: Final = "njord-readable"
_ASCII: Final = "njord_ascii"
_SUBSTITUTES: Final[Mapping[str, str]] = {
    "→": "->",
    "←": "<-",
    "⇒": "=>",
    "…": "...",
    "—": "-",
    "–": "-",
    "−": "-",
    "·": ".",
    "•": "*",
    "×": "x",
    "≤": "<=",
    "≥": ">=",
    "≠": "!=",
    "≈": "~",
    "±": "+/-",
    "∞": "inf",
    "√": "sqrt",
    "µ": "u",
    "°": " deg",
    "€": "EUR",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "«": '"',
    "»": '"',
    "✓": "ok",
    "✗": "x",
    **dict.fromkeys("─━╌┄╶╴", "-"),
    **dict.fromkeys("│┃╎┆", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰┏┓┗┛┡┩╇", "+"),
    **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),
}


def adapt_console() -> None:
    """Let standard output and error of this process take every character. The first statement of each command."""
    codecs.register_error(_ERRORS, _substitute)
    codecs.register(_search)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a stream that a test put there may have none
        if reconfigure is None:
            continue
        if codecs.lookup(stream.encoding or "ascii").name == "ascii":
            reconfigure(encoding=_ASCII, errors=_ERRORS)
        else:
            reconfigure(errors=_ERRORS)


def _search(name: str) -> codecs.CodecInfo | None:
    """ASCII under a name of its own: click takes a stream of ASCII for a mistake and writes UTF-8 to it."""
    if name != _ASCII:
        return None
    ascii_codec = codecs.lookup("ascii")
    return codecs.CodecInfo(
        name=_ASCII,
        encode=ascii_codec.encode,
        decode=ascii_codec.decode,
        incrementalencoder=ascii_codec.incrementalencoder,
        incrementaldecoder=ascii_codec.incrementaldecoder,
        streamreader=ascii_codec.streamreader,
        streamwriter=ascii_codec.streamwriter,
    )


def readable(text: str) -> str:
    """The text in ASCII, each other character as its substitute."""
    return "".join(character if character.isascii() else _readable(character) for character in text)


def write_json(text: str, stream: TextIO | None = None) -> None:
    """Write a JSON text as a line, with the characters that the stream lacks escaped as JSON escapes them."""
    target = sys.stdout if stream is None else stream
    try:
        text.encode(target.encoding or "utf-8")
    except UnicodeEncodeError:
        text = "".join(character if character.isascii() else json.dumps(character)[1:-1] for character in text)
    target.write(text + "\n")


def _substitute(error: UnicodeError) -> tuple[str, int]:
    """The handler of a codec: substitutes for what it cannot encode. Raises the error of a codec that decodes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return readable(error.object[error.start : error.end]), error.end


def _readable(character: str) -> str:
    """The substitute of a sign; a letter is escaped, never another letter: it may stand in the name of a file."""
    return _SUBSTITUTES.get(character) or character.encode("ascii", "backslashreplace").decode()
