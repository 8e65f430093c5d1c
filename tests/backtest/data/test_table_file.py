"""Files of bars as people have them: every ending, and a sentence for what is damaged or no table."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from backtest.data.series import from_file
from core.errors import ConfigError
from tests.backtest.data.test_bar_table import SYMBOL, frame


def test_the_ending_of_a_name_tells_the_kind_of_file_in_capitals_too(tmp_path: Path) -> None:
    table = frame()
    table.to_csv(tmp_path / "a.CSV", index=False)
    table.to_csv(tmp_path / "b.tsv", index=False, sep="\t")
    table.to_csv(tmp_path / "c.csv.GZ", index=False, compression="gzip")
    table.to_parquet(tmp_path / "d.pq")
    table.to_parquet(tmp_path / "of.csv.Parquet")
    table.to_feather(tmp_path / "e.feather")

    checksums = {from_file(path, SYMBOL, "1m").checksum for path in tmp_path.iterdir()}

    assert len(list(tmp_path.iterdir())) == 6
    assert len(checksums) == 1


def damaged(folder: Path, name: str) -> Path:
    """A file of bars that is broken in the way of its name."""
    path = folder / name
    if name == "flipped.csv.gz":
        content = bytearray(gzip.compress(frame().to_csv(index=False).encode(), mtime=0))
        content[30:40] = b"\xff" * 10
        path.write_bytes(content)
    elif name == "cut.csv.gz":
        path.write_bytes(gzip.compress(frame().to_csv(index=False).encode())[:100])
    elif name == "utf16.csv":
        path.write_bytes(frame().to_csv(index=False).encode("utf-16"))
    elif name == "other.csv.zip":
        path.write_bytes(b"PK\x03\x04 nothing")
    else:
        path.write_bytes(b"no table\xff\xfe" * 9)
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flipped.csv.gz", "got a file that is none or is damaged"),
        ("cut.csv.gz", "got a file that is none or is damaged"),
        ("other.csv.zip", "got a file that is none or is damaged"),
        ("utf16.csv", "expected text in UTF-8, got UTF-16; save the file as UTF-8"),
        ("latin.csv", "got a file that is none or is damaged"),
        ("some.parquet", "got a file that is none or is damaged"),
        ("some.feather", "got a file that is none or is damaged"),
        ("bars.xlsx", "expected a file of .csv, .tsv, .feather, .parquet, .pq"),
        ("bars.csv.bak", "expected a file of .csv, .tsv, .feather, .parquet, .pq"),
    ],
)
def test_a_damaged_file_is_refused_in_a_sentence_that_names_it(tmp_path: Path, name: str, expected: str) -> None:
    path = damaged(tmp_path, name)

    with pytest.raises(ConfigError) as error:
        from_file(path, SYMBOL, "1m")

    assert str(error.value).startswith(f"{path}: ")
    assert expected in str(error.value)


def test_a_file_without_a_header_is_told_to_have_none(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    frame().to_csv(path, index=False, header=False)

    with pytest.raises(ConfigError, match=r"expected a header in the first line, such as timestamp,open,high,low,clo"):
        from_file(path, SYMBOL, "1m")


def test_an_index_that_is_a_column_as_well_is_read_once(tmp_path: Path) -> None:
    table = frame(timestamp=pd.to_datetime(frame().timestamp, unit="s"))
    table.set_index(pd.DatetimeIndex(table.timestamp, name="timestamp")).to_parquet(tmp_path / "twice.parquet")
    frame().to_csv(tmp_path / "once.csv", index=False)

    twice, once = (from_file(tmp_path / name, SYMBOL, "1m") for name in ("twice.parquet", "once.csv"))

    assert twice.checksum == once.checksum


def test_an_index_that_differs_from_the_column_of_its_name_is_refused(tmp_path: Path) -> None:
    table = frame(timestamp=pd.to_datetime(frame().timestamp, unit="s"))
    shifted = pd.DatetimeIndex(table.timestamp, name="timestamp") + pd.Timedelta(minutes=1)
    table.set_index(shifted).to_parquet(tmp_path / "bars.parquet")

    with pytest.raises(ConfigError, match=r"row 0: expected the times of the index of that name, got 2024-01-01 00:01"):
        from_file(tmp_path / "bars.parquet", SYMBOL, "1m")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    frame().assign(Close=1.0).to_csv(tmp_path / "bars.csv", index=False)

    with pytest.raises(ConfigError, match="expected the column close once, got close and Close"):
        from_file(tmp_path / "bars.csv", SYMBOL, "1m")
