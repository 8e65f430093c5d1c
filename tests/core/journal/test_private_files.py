"""Ledgers, journals and snapshots belong to the daemon's user alone, whatever the umask, for as long as they exist."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.contracts import RiskState, TradingState
from core.disk import can_write
from core.journal import NdjsonJournal
from core.journal.rotation import compress_closed
from core.ledger import Cause, Ledger, Snapshot, SnapshotFile


@pytest.fixture(params=[0o000, 0o022, 0o277, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Masks that take nothing, the usual, the owner's right to write, and everything."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: mode(path) for path in folder.iterdir()}


@pytest.mark.usefixtures("umask")
def test_a_journal_is_private_through_repair_rotation_and_compression(tmp_path: Path) -> None:
    path = tmp_path / "journals" / "today" / "orders.ndjson"
    with NdjsonJournal(path, rotate_bytes=8) as journal:
        journal.append(b'{"ts_ns":1}', 1)
        journal.flush()
        journal.append(b'{"ts_ns":2}', 2)
    path.write_bytes(b'{"ts_ns":3}\n{"half')
    with NdjsonJournal(path, rotate_bytes=0):
        pass
    (archive, _) = compress_closed(path.parent)

    assert mode(path.parent) == mode(path.parent.parent) == 0o700
    assert {f"{archive.name}.sha256", archive.name, path.name, f"{path.name}.torn"} <= set(modes(path.parent))
    assert set(modes(path.parent).values()) == {0o600}


@pytest.mark.usefixtures("umask")
def test_a_ledger_its_reserve_and_its_snapshot_are_private(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger" / "risk_engine.ndjson", reserve_bytes=4096)
    ledger.append(1, Cause("local", "test"), [RiskState(TradingState.ACTIVE, "", 1)])
    ledger.commit()
    snapshot = Snapshot(
        daemon="risk_engine", ledger=ledger.identity, seq=1, at=ledger.place.hash, offset=ledger.place.offset, ts_ns=1,
        consumed={}, origins={}, newest_entry=(1, 0), halted=False, trouble_told=False, journals={},
        version=1, state={},
    )  # fmt: skip
    SnapshotFile(ledger.path).write(snapshot)
    ledger.close()

    assert mode(ledger.path.parent) == 0o700
    assert modes(ledger.path.parent) == dict.fromkeys(
        ("risk_engine.ndjson", "risk_engine.reserve", "risk_engine.snapshot"), 0o600
    )


@pytest.mark.usefixtures("umask")
def test_asking_whether_a_file_can_be_written_makes_it_private_too(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "risk_engine.ndjson"

    assert can_write(path)

    assert (mode(path.parent), mode(path)) == (0o700, 0o600)


def test_who_opened_a_journal_to_a_group_keeps_it_open_through_rotation_and_compression(tmp_path: Path) -> None:
    path = tmp_path / "orders.ndjson"
    path.touch()
    path.chmod(0o640)
    with NdjsonJournal(path) as journal:
        journal.append(b"{}")
        journal.retire()
    (archive,) = compress_closed(tmp_path)

    assert modes(tmp_path) == {archive.name: 0o640, f"{archive.name}.sha256": 0o640}
