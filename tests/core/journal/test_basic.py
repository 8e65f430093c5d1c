"""The journal writer: whole lines, one writer, torn tails moved aside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.errors import ConfigError, ContractError, FencedError
from core.journal import NdjsonJournal


def test_lines_are_appended_with_newlines_and_flushed_at_once(tmp_path: Path) -> None:
    journal = NdjsonJournal(tmp_path / "deep" / "er" / "x.ndjson")

    journal.write_lines(["line1", "line2"])

    assert journal.path.read_bytes() == b"line1\nline2\n"
    journal.close()


def test_reopening_appends_behind_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    for line in ("a", "b"):
        with NdjsonJournal(str(path)) as journal:
            journal.write_lines([line])

    assert path.read_bytes() == b"a\nb\n"


def test_appended_lines_reach_the_file_on_flush_and_not_before(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        journal.append(b"a")
        before = journal.path.read_bytes()
        journal.flush()

        assert (before, journal.path.read_bytes()) == (b"", b"a\n")


def test_memory_is_bounded_a_full_buffer_flushes_itself(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        for _ in range(20):
            journal.append(b"x" * 100_000)

        assert journal.path.stat().st_size >= 1_000_000


def test_sync_and_close_write_what_is_pending(tmp_path: Path) -> None:
    journal = NdjsonJournal(tmp_path / "x.ndjson")
    journal.append(b"a")
    journal.sync()
    journal.append(b"b")
    journal.close()
    journal.close()

    assert journal.path.read_bytes() == b"a\nb\n"


def test_a_closed_journal_takes_no_more_lines(tmp_path: Path) -> None:
    journal = NdjsonJournal(tmp_path / "x.ndjson")
    journal.close()

    with pytest.raises(ValueError, match="closed"):
        journal.append(b"a")


def test_a_line_with_a_newline_is_refused_and_none_of_its_batch_is_written(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        with pytest.raises(ContractError, match="without a newline"):
            journal.write_lines(["good", "b\nad"])
        with pytest.raises(ContractError, match="without a newline"):
            journal.append(b"b\nad")
        journal.flush()

        assert journal.path.read_bytes() == b""


def test_a_torn_last_line_is_moved_aside_byte_for_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b'{"a":1}\n{"a":2}\n{"a":')

    with NdjsonJournal(path) as journal:
        journal.write_lines(['{"a":3}'])

    assert path.read_bytes() == b'{"a":1}\n{"a":2}\n{"a":3}\n'
    assert (tmp_path / "x.ndjson.torn").read_bytes() == b'{"a":\n'
    assert (journal.repaired, journal.last_line) == (5, b'{"a":3}')


def test_a_second_torn_line_joins_the_first_in_the_torn_file(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    for torn in (b"one", b"two"):
        with path.open("ab") as file:
            file.write(torn)
        NdjsonJournal(path).close()

    assert (tmp_path / "x.ndjson.torn").read_bytes() == b"one\ntwo\n"
    assert path.read_bytes() == b""


@pytest.mark.parametrize("length", [0, 1, 65_534, 65_535, 65_536, 65_537, 200_000])
def test_the_last_line_is_found_whatever_its_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"first\n" + b"x" * length + b"\n")

    with NdjsonJournal(path) as journal:
        assert journal.last_line == b"x" * length
        assert journal.repaired == 0


def test_an_empty_file_has_no_last_line(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        assert journal.last_line is None


def test_two_journals_cannot_write_one_file_and_the_error_names_it(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    with NdjsonJournal(path), pytest.raises(FencedError, match=r"x\.ndjson is being written by another process"):
        NdjsonJournal(path)

    NdjsonJournal(path).close()


def test_another_process_is_kept_out_too(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    code = f"from core.journal.writer import NdjsonJournal; NdjsonJournal({str(path)!r})"

    with NdjsonJournal(path):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert other.returncode != 0
    assert "FencedError" in other.stderr


def test_the_name_of_a_rotated_file_cannot_be_opened_for_writing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rotated file"):
        NdjsonJournal(tmp_path / "x.20250930.ndjson")
