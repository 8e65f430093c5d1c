"""Files of tables: CSV and tab-separated text, also compressed, Feather and Parquet, read or refused in a sentence."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from lzma import LZMAError
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

_COMPRESSED: Final = (".gz", ".bz2", ".zip", ".xz", ".zst")
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")  # byte order marks
_BROKEN: Final = (
    OSError, EOFError, ValueError, KeyError, NotImplementedError, ImportError, zlib.error, LZMAError, zipfile.BadZipFile
)  # fmt: skip
"""What the readers raise for a file that is no such table; Arrow's, the parser's and decoding errors are among them."""


def read_table(path: Path, content: str = "a table of bars") -> pd.DataFrame:
    """The table in a file, by the ending of its name: ``.csv``, ``.tsv``, ``.feather``, ``.parquet`` or ``.pq``.

    Text may be compressed (``.csv.gz``). Capital letters in the ending make no difference.

    Args:
        content: what the file is expected to hold, for the error's text.

    Raises:
        ConfigError: no such file, another kind of file, a damaged one.
    """
    import pandas as pd

    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": lambda file: _without_index(pd.read_csv(file), file),
        ".tsv": lambda file: _without_index(pd.read_csv(file, sep="\t"), file),
        ".feather": pd.read_feather,
        ".parquet": pd.read_parquet,
        ".pq": pd.read_parquet,
    }
    expected = f"expected a file of {', '.join(readers)}, a CSV also as .csv.gz"
    if not path.is_file():
        raise ConfigError(f"{path}: {expected}, got {'a folder' if path.is_dir() else 'no such file'}")
    kind = kind_of(path)
    if kind not in readers:
        raise ConfigError(f"{path}: {expected}, got {path.suffix or 'a name without an ending'}")
    with path.open("rb") as file:
        if file.read(2) in _UTF_16:
            raise ConfigError(f"{path}: expected text in UTF-8, got UTF-16; save the file as UTF-8")
    try:
        return readers[kind](path)
    except _BROKEN as error:
        reason = " ".join(str(error).partition("\n")[0].split()) or type(error).__name__
        raise ConfigError(
            f"{path}: expected {content} as {kind}, got a file that is none or is damaged: {reason}; fetch or save it "
            "again"
        ) from None


def _without_index(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table as it was read. Raises ConfigError where pandas took the first column for an index."""
    from pandas import RangeIndex

    if not frame.index.equals(RangeIndex(len(frame))):
        raise ConfigError(
            f"{path}: expected as many fields in a row as in the header, got more; remove the separator at the end of "
            "the rows, or complete the header"
        )
    return frame


def kind_of(path: Path) -> str:
    """The ending of a file's name that tells its kind, in lower case, compression aside."""
    endings = [ending.lower() for ending in path.suffixes]
    if len(endings) > 1 and endings[-1] in _COMPRESSED:
        endings.pop()
    return endings[-1] if endings else ""
