"""A ledger on a disk that refuses, lies or stops: file and memory never say different things."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts import OrderIntent, RiskDecision
from core.errors import JournalWriteError
from core.journal import NdjsonJournal
from core.ledger import Cause, Ledger, Transaction, ledger
from tests.support.contract_samples import SAMPLE_OF
from tests.support.failing_disk import Crash, FailingDisk

DECISION = SAMPLE_OF[RiskDecision]
CAUSE = Cause("strategy_runner", "4-0", "strat.intent", SAMPLE_OF[OrderIntent])
STEPS = st.lists(
    st.sampled_from(["answer", "nothing", "commit", "commit", "sync fails", "cut fails", "full", "well", "restart"]),
    max_size=40,
)


def opened(path: Path, disk: FailingDisk, reserve_bytes: int = 0) -> Ledger:
    book = Ledger(path, disk=disk, reserve_bytes=reserve_bytes)
    list(book.replay())
    return book


def append(book: Ledger, *events: RiskDecision) -> None:
    book.append(book.seq + 1, CAUSE._replace(id=f"{book.seq + 1}-0"), events)


def transactions(path: Path) -> list[Transaction]:
    return list(ledger.read(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "risk_engine.ndjson"


@pytest.mark.parametrize("cut_fails", [False, True])
def test_lines_of_a_failed_sync_are_cut_off_and_written_anew(path: Path, cut_fails: bool) -> None:
    disk = FailingDisk()
    book = opened(path, disk)
    append(book, DECISION)
    book.commit()
    good = path.read_bytes()
    disk.sync_fails, disk.truncate_fails = True, cut_fails
    append(book)
    book.commit()  # nobody is told anything: no sync is needed
    append(book, DECISION)
    for _ in range(2):
        with pytest.raises(JournalWriteError):
            book.commit()
        assert book.committed == 1
        assert cut_fails or path.read_bytes() == good
    disk.sync_fails = disk.truncate_fails = False
    book.commit()
    book.close()
    assert [each.seq for each in transactions(path)] == [1, 2, 3]


def test_what_answers_nothing_is_synced_before_too_much_of_it_waits(path: Path) -> None:
    disk = FailingDisk()
    book = opened(path, disk)
    before = disk.effects
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "KEPT_BYTES", 2_000)
        for _ in range(30):
            append(book)
            book.commit()
    synced = disk.effects - before - 30
    assert 1 < synced < 15
    book.close()


@settings(deadline=None)
@given(steps=STEPS, space=st.integers(0, 3_000))
def test_file_and_memory_never_diverge(tmp_path_factory: pytest.TempPathFactory, steps: list[str], space: int) -> None:
    path = tmp_path_factory.mktemp("l") / "risk_engine.ndjson"
    disk = FailingDisk()
    book = opened(path, disk)
    told: dict[int, str] = {}  # hash by number of what a commit has acknowledged

    def restart() -> Ledger:
        book.abandon()
        disk.sync_fails = disk.truncate_fails = False
        disk.space = None
        return opened(path, disk)

    for number, step in enumerate(steps):
        try:
            if step == "answer":
                book.append(number, CAUSE, [DECISION])
            elif step == "nothing":
                book.append(number, CAUSE, [])
            elif step == "commit":
                book.commit()
                told |= {each.seq: each.hash for each in transactions(path)}
            elif step == "sync fails":
                disk.sync_fails = True
            elif step == "cut fails":
                disk.truncate_fails = True
            elif step == "full":
                disk.space = space
            elif step == "well":
                disk.sync_fails = disk.truncate_fails = False
                disk.space = None
            else:
                book = restart()
        except JournalWriteError:
            if step == "answer":
                book = restart()
        assert {each.seq: each.hash for each in transactions(path) if each.seq in told} == {
            seq: told[seq] for seq in told if seq <= len(transactions(path))
        }
    book = restart()
    assert {each.seq: each.hash for each in transactions(path)}.items() >= {
        seq: digest for seq, digest in told.items() if seq <= book.seq
    }.items()
    assert ledger.verify(path).transactions == book.seq
    book.close()


@pytest.mark.parametrize("rotate_bytes", [10**9, 120])
@pytest.mark.parametrize("at", range(40))
def test_a_crash_in_the_middle_of_any_effect_leaves_what_a_kill_leaves(
    tmp_path: Path, at: int, rotate_bytes: int
) -> None:
    disk = FailingDisk()
    disk.crash_after = at
    flushed = 0
    journal: NdjsonJournal | None = None
    try:
        with NdjsonJournal(tmp_path / "x.ndjson", rotate_bytes=rotate_bytes, disk=disk, rewrites=True) as journal:
            for number in range(12):
                journal.append(b"%04d" % number * 8)
                journal.sync()
                flushed = number + 1
    except Crash:
        pass
    if journal is not None:
        journal.abandon()
    with NdjsonJournal(tmp_path / "x.ndjson", rotate_bytes=0):
        pass
    files = sorted(tmp_path.glob("x.*ndjson"), key=lambda p: (p.name == "x.ndjson", len(p.name), p.name))
    lines = b"".join(each.read_bytes() for each in files).splitlines()
    assert lines == [b"%04d" % number * 8 for number in range(len(lines))]
    assert len(lines) >= flushed


@pytest.mark.parametrize("at", range(30))
def test_a_ledger_that_crashed_in_any_effect_goes_on(path: Path, at: int) -> None:
    disk = FailingDisk()
    disk.crash_after = at
    committed, book = 0, None
    try:
        book = opened(path, disk, reserve_bytes=4096)
        for _ in range(8):
            append(book, DECISION)
            book.commit()
            committed = book.committed
        book.close()
    except Crash:
        pass
    if book is not None:
        book.abandon()
    again = opened(path, FailingDisk(), reserve_bytes=4096)
    assert committed <= again.seq <= committed + 1
    append(again, DECISION)
    again.close()
    assert ledger.verify(path).transactions == again.seq


def test_a_full_disk_gives_up_the_reserve_and_the_commit_goes_through(path: Path) -> None:
    disk = FailingDisk()
    disk.space = 50_000
    book = opened(path, disk, reserve_bytes=40_000)
    reserve = path.with_name("risk_engine.reserve")
    assert (reserve.stat().st_size, book.strained) == (40_000, False)
    while not book.strained:
        append(book, DECISION)
        book.commit()
    assert not reserve.exists()
    append(book, DECISION)
    book.commit()
    assert not book.refresh_reserve()
    disk.space = 100_000
    assert book.refresh_reserve()
    assert (reserve.exists(), book.strained) == (True, False)
    book.close()
    assert ledger.verify(path).transactions == book.seq


def test_a_disk_without_room_for_the_reserve_is_strained_from_the_start(path: Path) -> None:
    disk = FailingDisk()
    disk.space = 1_000
    book = opened(path, disk, reserve_bytes=40_000)
    assert book.strained
    book.close()


def test_when_the_reserve_is_used_up_too_the_commit_is_refused(path: Path) -> None:
    disk = FailingDisk()
    disk.space = 3_000
    book = opened(path, disk, reserve_bytes=2_000)
    while not book.strained:
        append(book, DECISION)
        book.commit()
    disk.space = 0
    append(book, DECISION)
    with pytest.raises(JournalWriteError):
        book.commit()
    book.abandon()
    assert ledger.verify(path).transactions >= book.committed
