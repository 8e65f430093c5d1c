"""The journal on a disk that refuses: no half line stays, nothing is lost, nothing is written twice."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import JournalWriteError
from core.journal import NdjsonJournal

LINES = [f"{i:04d}".encode() * 5 for i in range(100)]  # 20 bytes and a newline each
EXPECTED = b"".join(line + b"\n" for line in LINES)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB; skips where mounting is not allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_whole_lines_and_the_rest_is_written_once_when_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 60 * 1024)
    lines = [f"{i:05d}".encode() * 9 for i in range(1000)]
    journal = NdjsonJournal(small_disk / "x.ndjson")
    for line in lines:
        journal.append(line)

    for _ in range(3):
        with pytest.raises(JournalWriteError, match="No space left"):
            journal.flush()
    on_full_disk = journal.path.read_bytes()
    ballast.unlink()
    journal.append(b"after")
    journal.flush()
    journal.close()

    assert 0 < on_full_disk.count(b"\n") < 1000
    assert on_full_disk.endswith(b"\n")
    assert journal.path.read_bytes() == b"".join(line + b"\n" for line in [*lines, b"after"])


def test_a_file_size_limit_of_the_process_is_survived_the_same_way(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    code = f"""
        import resource, signal
        from core.errors import JournalWriteError
        from core.journal.writer import NdjsonJournal
        from tests.core.journal.test_faults import LINES

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        journal = NdjsonJournal({str(path)!r})
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        for line in LINES:
            journal.append(line)
        for _ in range(2):
            try:
                journal.flush()
            except JournalWriteError:
                print(journal.path.read_bytes()[-1:] == b"\\n", journal.path.stat().st_size)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        journal.flush()
        journal.flush()
        journal.close()
    """

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, cwd=Path(__file__).parents[3]
    )

    assert done.stderr == ""
    assert done.stdout.split() == ["True", "987", "True", "987"]  # 47 whole lines of 21 bytes below the limit
    assert path.read_bytes() == EXPECTED


def test_a_half_line_that_cannot_be_cut_at_once_is_cut_before_the_next_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = NdjsonJournal(tmp_path / "x.ndjson")
    for line in LINES:
        journal.append(line)
    with monkeypatch.context() as broken:
        _write_at_most(broken, 50)
        broken.setattr(os, "ftruncate", _refuse)
        with pytest.raises(JournalWriteError):
            journal.flush()
        with_half_line = journal.path.read_bytes()

    journal.flush()
    journal.close()

    assert with_half_line == EXPECTED[:50]
    assert journal.path.read_bytes() == EXPECTED


@pytest.mark.parametrize("at", [0, 1, 20, 21, 22, 1000, 2099])
def test_wherever_a_write_breaks_off_the_file_holds_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    journal = NdjsonJournal(tmp_path / "x.ndjson")
    for line in LINES:
        journal.append(line)
    with monkeypatch.context() as broken:
        _write_at_most(broken, at)
        with pytest.raises(JournalWriteError):
            journal.flush()

    assert journal.path.read_bytes() == EXPECTED[: at // 21 * 21]
    journal.close()
    assert journal.path.read_bytes() == EXPECTED


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:7]))

    with NdjsonJournal(tmp_path / "x.ndjson") as journal:
        for line in LINES:
            journal.append(line)

    assert journal.path.read_bytes() == EXPECTED


def test_a_refused_line_is_not_taken_when_the_memory_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = NdjsonJournal(tmp_path / "x.ndjson")
    big = [b"%d" % i * 500_000 for i in range(4)]
    with monkeypatch.context() as broken:
        _write_at_most(broken, 0)
        for line in big[:3]:
            journal.append(line)
        with pytest.raises(JournalWriteError):
            journal.append(big[3])

    journal.append(big[3])
    journal.close()

    assert journal.path.read_bytes() == b"".join(line + b"\n" for line in big)


def test_a_failed_sync_is_never_followed_by_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = NdjsonJournal(tmp_path / "x.ndjson")
    journal.append(b"a")
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", _refuse)
        with pytest.raises(JournalWriteError):
            journal.sync()

    with pytest.raises(JournalWriteError):
        journal.sync()


def test_a_failed_rename_at_rotation_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = NdjsonJournal(tmp_path / "x.ndjson", rotate_bytes=100)
    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", _refuse)
        with pytest.raises(JournalWriteError):
            journal.write_lines(["x" * 120])

    journal.write_lines(["y"])
    journal.close()

    rotated = [p for p in tmp_path.iterdir() if p != journal.path]
    assert [p.read_bytes() for p in rotated] == [b"x" * 120 + b"\ny\n"]
    assert journal.path.read_bytes() == b""


def test_a_new_file_that_cannot_be_made_after_rotation_is_made_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = NdjsonJournal(tmp_path / "x.ndjson", rotate_bytes=100)
    with monkeypatch.context() as broken:
        broken.setattr(os, "open", _refuse)
        with pytest.raises(JournalWriteError):
            journal.write_lines(["x" * 120])
        with pytest.raises(JournalWriteError):
            journal.write_lines(["y"])

    journal.sync()
    journal.close()

    assert (tmp_path / "x.ndjson").read_bytes() == b"y\n"
    assert [p.stat().st_size for p in tmp_path.iterdir() if p.name != "x.ndjson"] == [121]


def test_killed_at_any_instant_the_next_writer_finds_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    code = f"""
        from core.journal.writer import NdjsonJournal
        journal = NdjsonJournal({str(path)!r}, rotate_bytes=5000)
        i = 0
        while True:
            for _ in range(50):
                journal.append(b"%06d" % i * 7)
                i += 1
            journal.flush()
            if i == 2000:
                print("ready", flush=True)
    """
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()

    with NdjsonJournal(path, rotate_bytes=5000):
        pass

    files = [*sorted(tmp_path.glob("x.*.ndjson"), key=_part), path]
    lines = b"".join(f.read_bytes() for f in files).splitlines()
    assert lines == [b"%06d" % i * 7 for i in range(len(lines))]
    assert len(lines) >= 2000


def _part(path: Path) -> int:
    middle = path.name.split(".")[2]
    return 0 if middle == "ndjson" else int(middle)


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def _write_at_most(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    real = os.write
    left = limit

    def write(fd: int, data: bytes) -> int:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = real(fd, data[:left])
        left -= written
        return written

    monkeypatch.setattr(os, "write", write)
