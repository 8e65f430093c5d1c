"""The file switch: it exists, or it cannot be looked at, and trading is stopped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core import kill_switch
from core.errors import FatalError
from core.kill_switch import Trip


class At:
    """A clock that stands still."""

    def now_ns(self) -> int:
        return 1_700_000_000_000_000_000


@pytest.fixture
def switch(tmp_path: Path) -> str:
    return str(tmp_path / "switch")


def test_a_switch_is_tripped_while_its_file_exists(switch: str) -> None:
    assert not kill_switch.file_tripped(switch)
    kill_switch.trip_file(switch)
    assert kill_switch.file_tripped(switch)
    kill_switch.clear_file(switch)
    assert not kill_switch.file_tripped(switch)


def test_the_reason_and_the_time_are_kept(switch: str) -> None:
    kill_switch.trip_file(switch, reason="drawdown", clock=At())
    assert kill_switch.read_file(switch) == Trip("drawdown", At().now_ns(), os.getpid())


def test_a_second_trip_keeps_the_first_reason(switch: str) -> None:
    kill_switch.trip_file(switch, reason="first")
    kill_switch.trip_file(switch, reason="second")
    found = kill_switch.read_file(switch)
    assert found is not None
    assert found.reason == "first"


def test_a_file_made_by_hand_trips(switch: str) -> None:
    Path(switch).touch()
    assert kill_switch.read_file(switch) == Trip()
    Path(switch).write_text("stop now\n")
    assert kill_switch.read_file(switch) == Trip("stop now")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}", b'{"reason": 1}', b"[" * 100_000, b"null", b"1e999"])
def test_whatever_the_file_holds_it_trips(switch: str, content: bytes) -> None:
    Path(switch).write_bytes(content)
    assert kill_switch.file_tripped(switch)
    assert isinstance(kill_switch.read_file(switch), Trip)


def test_a_folder_or_a_dangling_link_of_that_name_trips(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert kill_switch.file_tripped(tmp_path / "folder")
    assert kill_switch.file_tripped(tmp_path / "link")
    kill_switch.trip_file(tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_cannot_be_looked_at_counts_as_tripped(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "lstat", denied)
    assert kill_switch.file_tripped(switch)


def test_a_path_that_can_never_exist_counts_as_tripped(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert kill_switch.file_tripped(tmp_path / "file" / "below")
    assert kill_switch.file_tripped("a\0b")


def test_clearing_a_switch_that_is_not_tripped_is_fine(switch: str) -> None:
    kill_switch.clear_file(switch)


def test_a_switch_that_cannot_be_cleared_is_said(tmp_path: Path) -> None:
    (tmp_path / "switch").mkdir()
    with pytest.raises(FatalError, match="cannot be removed"):
        kill_switch.clear_file(tmp_path / "switch")


def test_a_switch_that_cannot_be_tripped_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FatalError, match="cannot be created"):
        kill_switch.trip_file(tmp_path / "file" / "deep" / "switch")


def test_a_full_disk_does_not_keep_the_switch_from_tripping(switch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    kill_switch.trip_file(switch, reason="lost")
    assert kill_switch.file_tripped(switch)


def test_missing_folders_are_made(tmp_path: Path) -> None:
    kill_switch.trip_file(tmp_path / "a" / "b" / "switch")
    assert kill_switch.file_tripped(tmp_path / "a" / "b" / "switch")
