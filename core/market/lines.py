"""Lines of recorded files, plain or gzip, with their places; what cannot be read is told, never raised.

A capture ends where the power went: a torn last line and a cut gzip stream are ordinary here.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final

from core.errors import ConfigError

_CHUNK: Final = 1 << 18  # bytes read at a time
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31  # zlib's word for a gzip header and trailer
MAX_LINE: Final = 1 << 24  # bytes; a longer line is no message


@dataclass(frozen=True, slots=True)
class BadLine:
    """Something wrong at one place of a file. ``place`` is ``file:line``; ``reason`` says what was expected, what
    came and what to do. ``used``: the event counts all the same, this is only a warning."""

    place: str
    reason: str
    raw: bytes = b""
    used: bool = False


OnBadLine = Callable[[BadLine], None]


def read_lines(path: Path, on_bad_line: OnBadLine) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers from 1, without line ends and without empty ones.

    Raises:
        ConfigError: the file cannot be opened.
    """
    number = 0
    rest = b""
    faults: list[str] = []
    with _open(path) as file:
        for chunk in _plain_chunks(file, faults):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                number += 1
                if line:
                    yield number, line
            if len(rest) > MAX_LINE:
                faults.append(f"expected a line end within {MAX_LINE} bytes; what follows is not read")
                rest = b""
                break
    number += 1
    if rest and not faults:
        yield number, rest
    for fault in faults:
        on_bad_line(BadLine(f"{path}:{number}", fault, rest))


def sha256_of(paths: Sequence[Path]) -> str:
    """SHA-256 of one file, as ``sha256sum`` shows it; of several, that of their sums, one a line, in order."""
    sums = [_sha256(path) for path in paths]
    return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path) -> BufferedReader:
    try:
        return path.open("rb")  # ambient: a recording that is replayed, read by the feed
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror}; expected a raw Binance capture or one of our journals"
        ) from None


def _plain_chunks(file: BufferedReader, faults: list[str]) -> Iterator[bytes]:
    first = file.read(_CHUNK)
    if first.startswith(_GZIP_MAGIC):
        yield from _inflated(file, first, faults)
        return
    while first:
        yield first
        first = file.read(_CHUNK)


def _inflated(file: BufferedReader, data: bytes, faults: list[str]) -> Iterator[bytes]:
    """Decompress one gzip member after the other; a cut or damaged stream gives what comes before the damage."""
    inflate = zlib.decompressobj(_GZIP_WINDOW)
    while data:
        checkpoint = inflate.copy()
        try:
            inflated = inflate.decompress(data)
        except zlib.error as error:
            yield from _up_to_damage(checkpoint, data)
            faults.append(
                f"expected gzip data, got damage ({error}): everything before is used, what follows is not read. "
                "Copy the file again."
            )
            return
        yield inflated
        data = inflate.unused_data.lstrip(b"\0") if inflate.eof else b""
        data = data or file.read(_CHUNK)
        if data and inflate.eof:
            inflate = zlib.decompressobj(_GZIP_WINDOW)
    if not inflate.eof:
        faults.append(
            "expected the end of the gzip stream, got the end of the file: it was cut here, everything before is used. "
            "Copy it again to get the rest."
        )


def _up_to_damage(inflate: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """What a damaged chunk gives before the damage, which only shows when it is fed byte by byte."""
    for at in range(len(data)):
        try:
            yield inflate.decompress(data[at : at + 1])
        except zlib.error:
            return
