"""Rotation by UTC day of event time and by size; nothing is lost and names follow the convention."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NS_PER_DAY
from core.errors import FencedError
from core.journal import NdjsonJournal
from core.journal import files as journal_files

MIDNIGHT = int(datetime(2025, 10, 1, tzinfo=UTC).timestamp()) * 1_000_000_000
STREAM = "ohlcv.1m.ATOMUSDT"


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def everything(folder: Path, stream: str) -> bytes:
    closed = [f.path for f in journal_files.closed_files(folder, stream)]
    return b"".join(p.read_bytes() for p in [*closed, folder / f"{stream}.ndjson"])


def test_the_first_line_of_a_new_utc_day_rotates_the_file(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / f"{STREAM}.ndjson") as journal:
        journal.append(b"last of September", MIDNIGHT - 1)
        journal.append(b"first of October", MIDNIGHT)

    assert names(tmp_path) == [f"{STREAM}.20250930.ndjson", f"{STREAM}.ndjson"]
    assert (tmp_path / f"{STREAM}.20250930.ndjson").read_bytes() == b"last of September\n"
    assert journal.path.read_bytes() == b"first of October\n"


def test_a_late_line_of_yesterday_stays_in_todays_file(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        journal.append(b"a", MIDNIGHT)
        journal.append(b"late", MIDNIGHT - 1)
        journal.append(b"b", MIDNIGHT + 1)

    assert journal.path.read_bytes() == b"a\nlate\nb\n"


def test_a_line_without_a_time_never_rotates_by_day(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        journal.append(b"a", MIDNIGHT - 1)
        journal.append(b"b")

    assert journal.path.read_bytes() == b"a\nb\n"


def test_without_daily_rotation_days_share_a_file(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson", daily=False) as journal:
        journal.append(b"a", MIDNIGHT - 1)
        journal.append(b"b", MIDNIGHT)

    assert names(tmp_path) == ["x.ndjson"]


def test_a_file_that_reaches_its_size_is_rotated_at_once(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / f"{STREAM}.ndjson", rotate_bytes=100) as journal:
        for line in (b"a" * 60, b"b" * 60, b"c" * 60, b"d" * 120):
            journal.append(line, MIDNIGHT - 1)
            journal.flush()

    assert names(tmp_path) == [f"{STREAM}.20250930.1.ndjson", f"{STREAM}.20250930.ndjson", f"{STREAM}.ndjson"]
    assert [f.path.stat().st_size for f in journal_files.closed_files(tmp_path)] == [122, 182]
    assert journal.rotations == 2


def test_the_default_size_is_100_mb() -> None:
    defaults = NdjsonJournal.__init__.__kwdefaults__ or {}
    assert (defaults["rotate_bytes"], defaults["daily"]) == (100 * 1024 * 1024, True)


def test_where_a_file_is_cut_does_not_depend_on_when_it_is_flushed(tmp_path: Path) -> None:
    cuts = []
    for every in (1, 3, 1000):
        folder = tmp_path / str(every)
        with NdjsonJournal(folder / "x.ndjson", rotate_bytes=1000) as journal:
            for i in range(500):
                journal.append(b"x" * (i % 90), MIDNIGHT + i * NS_PER_DAY // 200)
                if i % every == 0:
                    journal.flush()
        cuts.append({p.name: p.read_bytes() for p in folder.iterdir()})

    assert cuts[0] == cuts[1] == cuts[2]


def test_more_than_ten_files_of_a_day_stay_in_order(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson", rotate_bytes=1) as journal:
        for i in range(25):
            journal.append(b"%d" % i, MIDNIGHT)

    assert everything(tmp_path, "x") == b"".join(b"%d\n" % i for i in range(25))


def test_size_zero_never_rotates_by_size(tmp_path: Path) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson", rotate_bytes=0) as journal:
        journal.write_lines(["a", "b"])

    assert names(tmp_path) == ["x.ndjson"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"symbol":"A/B","ts":%d,"ts_recv_ns":%d}' % (MIDNIGHT - 1, MIDNIGHT + 1),
        b'{"ts_open":%d,"ts_close":%d}' % (MIDNIGHT - 60_000_000_001, MIDNIGHT - 1),
        b'{"seq":1,"ts_ns":%d}' % (MIDNIGHT - 1),
    ],
)
def test_a_file_left_open_yesterday_is_rotated_under_its_own_day_after_a_restart(tmp_path: Path, line: bytes) -> None:
    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        journal.append(line, MIDNIGHT - 1)

    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        journal.append(b"{}", MIDNIGHT)

    assert names(tmp_path) == ["x.20250930.ndjson", "x.ndjson"]


def test_lines_that_carry_no_time_are_dated_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(b"no json\n")
    os.utime(path, ns=(MIDNIGHT - 1, MIDNIGHT - 1))

    with NdjsonJournal(path) as journal:
        journal.append(b"{}", MIDNIGHT)

    assert names(tmp_path) == ["x.20250930.ndjson", "x.ndjson"]


def test_after_a_restart_names_never_sort_before_what_was_rotated_earlier(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    with NdjsonJournal(path, rotate_bytes=1) as journal:
        journal.append(b"1", MIDNIGHT)

    with NdjsonJournal(path, rotate_bytes=1) as journal:
        journal.append(b"late", MIDNIGHT - 1)
        journal.append(b"2", MIDNIGHT + 1)

    assert everything(tmp_path, "x") == b"1\nlate\n2\n"


def test_the_last_line_of_an_empty_file_is_that_of_the_latest_rotated_one(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    with NdjsonJournal(path, rotate_bytes=1) as journal:
        journal.write_lines(["a", "b"])

    assert path.read_bytes() == b""
    with NdjsonJournal(path) as journal:
        assert journal.last_line == b"b"


def test_the_rotated_file_keeps_no_lock_and_the_new_one_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    with NdjsonJournal(path, rotate_bytes=1) as journal:
        journal.write_lines(["a"])

        with pytest.raises(FencedError):
            NdjsonJournal(path)


def test_a_writer_that_took_the_name_during_rotation_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.ndjson"
    others: list[NdjsonJournal] = []
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        real(source, target)
        monkeypatch.setattr(os, "replace", real)
        others.append(NdjsonJournal(path))

    journal = NdjsonJournal(path, rotate_bytes=1)
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(FencedError):
        journal.write_lines(["a"])

    others[0].write_lines(["theirs"])
    assert path.read_bytes() == b"theirs\n"
    others[0].close()


@given(
    lines=st.lists(st.tuples(st.binary(max_size=20), st.integers(-3, 3), st.booleans(), st.booleans()), max_size=60),
    rotate_bytes=st.integers(0, 80),
)
def test_whatever_is_written_is_read_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bytes, int, bool, bool]], rotate_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("journals")
    journal = NdjsonJournal(folder / "x.ndjson", rotate_bytes=rotate_bytes)
    written = []
    for i, (raw, days, flush, reopen) in enumerate(lines):
        line = raw.replace(b"\n", b"")
        ts_ns = MIDNIGHT + (i // 7 + days) * NS_PER_DAY
        line = b'{"ts":%d,"x":"%b"}' % (ts_ns, line.hex().encode())
        journal.append(line, ts_ns)
        written.append(line)
        if flush:
            journal.flush()
        if reopen:
            journal.close()
            journal = NdjsonJournal(folder / "x.ndjson", rotate_bytes=rotate_bytes)
            assert journal.last_line == line
    journal.close()

    assert everything(folder, "x") == b"".join(line + b"\n" for line in written)
