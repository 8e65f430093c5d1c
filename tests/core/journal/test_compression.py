"""Compression of rotated journals: the same content, checksummed, and safe to kill at any instant."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import JournalWriteError
from core.journal import NdjsonJournal, rotation
from core.journal.rotation import compress_closed, corrupt_files, rotate_idle

ROOT = Path(__file__).resolve().parents[3]
DAY_S = 86_400
NOW_NS = 1_760_000_000 * 1_000_000_000
CONTENT = b"".join(
    b'{"symbol":"ATOM/USDT","timeframe":"1m","open":%d.5,"close":%d.25}\n' % (i % 97, i % 89) for i in range(5000)
)


def closed_file(folder: Path, name: str = "ohlcv.1m.ATOMUSDT.20250930.ndjson", age_s: float = 0.0) -> Path:
    path = folder / name
    path.write_bytes(CONTENT)
    written_ns = NOW_NS - int(age_s * 1e9)
    os.utime(path, ns=(written_ns, written_ns))
    return path


def test_content_is_preserved_bit_for_bit_and_the_plain_file_goes(tmp_path: Path) -> None:
    plain = closed_file(tmp_path)

    packed = compress_closed(tmp_path, now_ns=NOW_NS)

    assert packed == [tmp_path / "ohlcv.1m.ATOMUSDT.20250930.ndjson.gz"]
    assert gzip.decompress(packed[0].read_bytes()) == CONTENT
    assert not plain.exists()
    assert packed[0].stat().st_size < len(CONTENT) / 2


def test_the_checksum_file_is_what_sha256sum_reads(tmp_path: Path) -> None:
    closed_file(tmp_path)

    (packed,) = compress_closed(tmp_path, now_ns=NOW_NS)

    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    assert (tmp_path / f"{packed.name}.sha256").read_text() == f"{digest}  {packed.name}\n"


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for day in ("one", "two"):
        (tmp_path / day).mkdir()
        closed_file(tmp_path / day, age_s=len(day) * 100)
        made += [p.read_bytes() for p in compress_closed(tmp_path / day)]

    assert made[0] == made[1]


def test_active_and_foreign_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("ohlcv.1m.ATOMUSDT.ndjson", "x.20250930.ndjson.torn", "x.20251399.ndjson", "app.log"):
        closed_file(tmp_path, name, age_s=10 * DAY_S)

    assert compress_closed(tmp_path, now_ns=NOW_NS) == []


def test_only_files_older_than_asked_for_are_compressed(tmp_path: Path) -> None:
    closed_file(tmp_path, "a.20250930.ndjson", age_s=DAY_S)
    closed_file(tmp_path, "b.20250930.ndjson", age_s=DAY_S - 0.001)

    packed = compress_closed(tmp_path, older_than_s=DAY_S, now_ns=NOW_NS)

    assert [p.name for p in packed] == ["a.20250930.ndjson.gz"]


@pytest.mark.parametrize("step", ["_write_gzip", "_digest_gzip", "_write_durably"])
def test_killed_before_the_copy_is_in_place_the_next_run_completes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    plain = closed_file(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(rotation, step, _killed_after(getattr(rotation, step)))
        with pytest.raises(KeyboardInterrupt):
            compress_closed(tmp_path)
    assert plain.read_bytes() == CONTENT

    (packed,) = compress_closed(tmp_path)

    assert gzip.decompress(packed.read_bytes()) == CONTENT
    assert sorted(p.name for p in tmp_path.iterdir()) == [packed.name, f"{packed.name}.sha256"]


def test_killed_before_the_plain_file_goes_the_next_run_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed_file(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(Path, "unlink", _killed_after(lambda _: None))
        with pytest.raises(KeyboardInterrupt):
            compress_closed(tmp_path)
    first = {p.name: p.read_bytes() for p in tmp_path.glob("*.gz*")}

    (packed,) = compress_closed(tmp_path)

    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == first
    assert gzip.decompress(packed.read_bytes()) == CONTENT


def test_a_copy_that_does_not_read_back_as_written_is_refused_and_the_plain_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = closed_file(tmp_path)
    write = rotation._write_gzip

    def damaged(source: Path, target: Path) -> str:
        content = write(source, target)
        data = bytearray(target.read_bytes())
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
        return content

    monkeypatch.setattr(rotation, "_write_gzip", damaged)
    with pytest.raises(JournalWriteError):
        compress_closed(tmp_path)

    assert plain.read_bytes() == CONTENT
    assert not list(tmp_path.glob("*.gz"))


def test_a_damaged_or_unchecked_file_is_reported(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        closed_file(tmp_path, f"{name}.20250930.ndjson")
    good, damaged, unchecked = compress_closed(tmp_path)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (tmp_path / f"{unchecked.name}.sha256").unlink()

    assert corrupt_files(tmp_path) == [damaged, unchecked]
    assert good not in corrupt_files(tmp_path)


def test_two_compressors_do_not_work_on_one_folder(tmp_path: Path) -> None:
    closed_file(tmp_path)
    fd = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)

    assert compress_closed(tmp_path) == []
    os.close(fd)
    assert len(compress_closed(tmp_path)) == 1


def test_an_idle_market_data_file_is_rotated_under_the_day_of_its_last_line(tmp_path: Path) -> None:
    line = b'{"symbol":"A/B","ts_open":1759190400000000000,"ts_close":1759190460000000000}\n'  # 30 September 2025
    path = closed_file(tmp_path, "ohlcv.1m.AB.ndjson")
    path.write_bytes(line)
    os.utime(path, ns=(NOW_NS - 2 * DAY_S * 10**9,) * 2)

    assert rotate_idle(tmp_path, older_than_s=DAY_S, now_ns=NOW_NS) == [tmp_path / "ohlcv.1m.AB.20250930.ndjson"]
    assert [p.name for p in tmp_path.iterdir()] == ["ohlcv.1m.AB.20250930.ndjson"]


def test_files_that_are_written_young_empty_or_no_market_data_are_not_idle(tmp_path: Path) -> None:
    closed_file(tmp_path, "md.trades.AB.ndjson", age_s=1)
    closed_file(tmp_path, "risk_engine.ndjson", age_s=10 * DAY_S)
    (tmp_path / "md.trades.EMPTY.ndjson").write_bytes(b"")
    os.utime(tmp_path / "md.trades.EMPTY.ndjson", (0, 0))
    quiet = closed_file(tmp_path, "md.trades.CD.ndjson", age_s=10 * DAY_S)

    with NdjsonJournal(quiet):
        assert rotate_idle(tmp_path, older_than_s=DAY_S, now_ns=NOW_NS) == []


def test_the_command_compresses_and_says_so(tmp_path: Path) -> None:
    path = closed_file(tmp_path, "ohlcv.1m.ATOMUSDT.ndjson")
    os.utime(path, (0, 0))

    done = _run(str(tmp_path), "--json", "--verify")

    (packed,) = tmp_path.glob("*.gz")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"compressed": [str(packed)], "corrupt": []}
    assert gzip.decompress(packed.read_bytes()) == CONTENT
    assert not path.exists()


def test_the_command_names_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    done = _run(str(tmp_path / "nowhere"))

    assert done.returncode == 1
    assert "nowhere" in done.stderr


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.compress_journals", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def _killed_after(step: Callable[..., object]) -> Callable[..., object]:
    def killed(*arguments: object) -> object:
        step(*arguments)
        raise KeyboardInterrupt

    return killed
