"""The ledger: what was committed comes back, and whatever changed it since is named by file and line."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from core import codec
from core.contracts import Contract, FillEvent, KillSwitchEvent, OrderIntent, PositionSnapshot, RiskDecision
from core.errors import FencedError, JournalWriteError, LedgerCorruptError
from core.ledger import Cause, Ledger, Transaction, ledger
from tests.conftest import ROOT
from tests.support.contract_samples import SAMPLE_OF
from tests.support.waiting import patience

INTENT, DECISION, FILL = SAMPLE_OF[OrderIntent], SAMPLE_OF[RiskDecision], SAMPLE_OF[FillEvent]
CAUSE = Cause("strategy_runner", "4-0", "strat.intent", INTENT)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "risk_engine.ndjson"


def write(path: Path, count: int = 3, events: tuple[Contract, ...] = (DECISION,)) -> Path:
    """A ledger with so many transactions."""
    book = Ledger(path)
    list(book.replay())
    for number in range(count):
        book.append(book.seq + 1, CAUSE._replace(id=f"{number + 1}-0"), events)
    book.close()
    return path


def transactions(path: Path) -> list[Transaction]:
    return list(ledger.read(path))


def test_what_was_committed_is_replayed_in_order(path: Path) -> None:
    book = Ledger(path)
    assert list(book.replay()) == []
    assert book.append(10, CAUSE, [DECISION, FILL], "") == 1
    assert book.append(11, Cause("md.trades.BTC/USDT", "17"), [FILL]) == 2
    assert (
        book.append(12, Cause("local", "KillSwitchEvent", "local.KillSwitchEvent", KillSwitchEvent(True, "x", 1)), [])
        == 3
    )
    assert book.append(13, Cause("strategy_runner", "5-1", "?"), [], "unreadable") == 4
    book.close()
    one, two, three, four = transactions(path)
    assert (one.seq, one.ts_ns, one.cause, [e for _, e in one.events]) == (1, 10, CAUSE, [DECISION, FILL])
    assert [topic for topic, _ in one.events] == ["risk.decisions", "fills.new"]
    assert (one.cause.entry, two.cause.entry, three.cause.entry, four.cause.entry) == ((4, 0), None, None, (5, 1))
    assert (two.cause, two.note, four.note) == (Cause("md.trades.BTC/USDT", "17"), "", "unreadable")
    assert three.cause.event == KillSwitchEvent(True, "x", 1)


def test_nothing_is_in_the_file_before_the_commit(path: Path) -> None:
    book = Ledger(path)
    book.append(1, CAUSE, [DECISION])
    assert path.read_bytes() == b""
    assert book.committed == 0
    book.commit()
    assert (book.committed, len(transactions(path))) == (1, 1)
    book.close()


def test_a_ledger_goes_on_where_it_ended(path: Path) -> None:
    write(path, 2)
    write(path, 2)
    assert [each.seq for each in transactions(path)] == [1, 2, 3, 4]
    assert ledger.verify(path).transactions == 4


def test_a_change_of_any_single_byte_is_detected_with_file_line_and_remedy(path: Path) -> None:
    write(path, 2)
    good = path.read_bytes()
    first = good.index(b"\n")
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        line = 1 if place <= first else 2
        with pytest.raises(LedgerCorruptError, match=r"Restore risk_engine\.ndjson from a backup") as caught:
            ledger.verify(path)
        assert str(caught.value).startswith(f"{path}:{line}: ")
        assert caught.value.line == line


@pytest.mark.parametrize("place", ["first line", "first newline", "last newline"])
def test_the_daemon_refuses_what_the_verification_refuses(path: Path, place: str) -> None:
    good = write(path, 3).read_bytes()
    at = {"first line": 5, "first newline": good.index(b"\n"), "last newline": len(good) - 1}[place]
    changed = good[:at] + b"#" + good[at + 1 :]
    path.write_bytes(changed)
    with pytest.raises(LedgerCorruptError):
        list(Ledger(path).replay())
    assert path.read_bytes() == changed


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 2, 1], [0, 2], [1, 2], [0, 0, 1, 2]], ids=str)
def test_swapped_missing_and_doubled_lines_are_detected(path: Path, order: list[int]) -> None:
    lines = write(path, 3).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[number] for number in order))
    first_wrong = next(i for i, number in enumerate(order) if number != i) + 1
    with pytest.raises(LedgerCorruptError, match=f"{path.name}:{first_wrong}: expected prev"):
        ledger.verify(path)


def test_ledgers_with_swapped_names_are_detected(tmp_path: Path) -> None:
    one, other = write(tmp_path / "risk_engine.ndjson"), write(tmp_path / "paper_trader.ndjson")
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    for path in (one, other):
        with pytest.raises(LedgerCorruptError, match=f"{path.name}:1: expected prev"):
            ledger.verify(path)


@pytest.mark.parametrize(
    "body",
    [b"{}", b"[]", b"null", b'{"seq":1}', b'{"seq":1,"prev":"PREV","cause":3,"events":[]}',
     b'{"seq":1,"prev":"PREV","cause":{"stream":"a","id":"b"},"events":[{"topic":"no.such","event":{}}]}',
     b'{"seq":1,"prev":"PREV","cause":{"stream":"a","id":"b"},"events":[{"topic":"fills.new","event":{"x":1}}]}',
     b'{"seq":2,"prev":"PREV","cause":{"stream":"a","id":"b"},"events":[]}', b"{" + b"[" * 100_000 + b"}"],
    ids=lambda body: body[:60].decode(),
)  # fmt: skip
def test_a_forged_line_with_a_right_hash_is_named_too(path: Path, body: bytes) -> None:
    import hashlib

    body = body.replace(b"PREV", ledger.genesis("risk_engine").encode())
    digest = hashlib.sha256(body).hexdigest()
    path.write_bytes(body[:-1] + b',"hash":"' + digest.encode() + b'"}\n')
    with pytest.raises(LedgerCorruptError, match=rf"{path.name}:1: "):
        ledger.verify(path)


def test_a_torn_last_line_at_any_byte_is_set_aside_and_the_rest_goes_on(path: Path) -> None:
    write(path, 2)
    good = path.read_bytes()
    second = good.index(b"\n") + 1
    for length in range(second + 1, len(good) - 1):
        path.write_bytes(good[:length])
        assert ledger.verify(path).torn_bytes == length - second
        book = Ledger(path)
        assert [each.seq for each in book.replay()] == [1]
        book.close()
        torn = path.with_name(path.name + ".torn")
        assert torn.read_bytes() == good[second:length] + b"\n"
        torn.unlink()
        assert path.read_bytes() == good[:second]


def test_a_last_line_that_only_lacks_its_newline_is_kept(path: Path) -> None:
    """It is as good as written, and others may have acted on it: an editor that strips it must cost nothing."""
    write(path, 2)
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    book = Ledger(path)
    assert [each.seq for each in book.replay()] == [1, 2]
    book.close()
    assert path.read_bytes() == good


def test_a_second_writer_is_refused_and_told_how_to_find_the_first(path: Path) -> None:
    book = Ledger(path)
    with pytest.raises(FencedError, match=f"fuser {path}"):
        Ledger(path)
    book.close()
    Ledger(path).close()


def test_messages_behind_a_place_are_the_ledger_class_ones_with_their_places(path: Path) -> None:
    write(path, 2, (DECISION, SAMPLE_OF[PositionSnapshot], FILL))
    found = list(ledger.messages_after(path, "risk_engine", (1, 0)))
    assert [(m.topic, m.producer, m.entry) for m in found] == [
        ("fills.new", "risk_engine", (1, 2)),
        ("risk.decisions", "risk_engine", (2, 0)),
        ("fills.new", "risk_engine", (2, 2)),
    ]


def test_the_same_transactions_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (write(tmp_path / folder / "risk_engine.ndjson") for folder in ("a", "b"))
    assert one.read_bytes() == other.read_bytes()


def test_every_line_is_json_that_others_can_read(path: Path) -> None:
    for line in write(path).read_bytes().splitlines():
        plain = codec.decode_plain(line)
        assert list(plain) == ["seq", "ts_ns", "cause", "events", "prev", "hash"]


FULL_DISK = """
import sys
from pathlib import Path
from core.contracts import ClockTick, OrderCancel
from core.errors import JournalWriteError
from core.ledger.ledger import Cause, Ledger
book = Ledger(Path(sys.argv[1]))
list(book.replay())
try:
    while True:
        book.append(1, Cause("local", "start"), [OrderCancel("o-1", "A/B", "s", 1)])
        book.commit()
        print(book.committed, flush=True)
except JournalWriteError as error:
    print(error, file=sys.stderr)
    raise SystemExit(7)
"""


def test_a_full_disk_ends_the_writing_and_what_was_committed_is_sound(path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], cwd=ROOT, preexec_fn=limit, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False, timeout=patience(60),
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert f"cannot write {path}: File too large" in done.stderr
    assert f"mend permissions under {path.parent}, then start again" in done.stderr
    committed = int(done.stdout.split()[-1])
    assert ledger.verify(path).transactions == committed > 3
    write(path, 1)
    assert ledger.verify(path).transactions == committed + 1


@pytest.fixture
def full_device(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A switch: while its entry is true, syncing fails."""
    broken = [False]
    real = os.fdatasync

    def fdatasync(fd: int) -> None:
        if broken[0]:
            raise OSError(28, "No space left on device")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    return broken


def test_a_commit_whose_sync_failed_is_undone_and_done_anew(path: Path, full_device: list[bool]) -> None:
    book = Ledger(path)
    full_device[0] = True
    book.append(1, CAUSE, [DECISION])
    with pytest.raises(JournalWriteError, match="No space left"):
        book.commit()
    assert (book.committed, path.read_bytes()) == (0, b"")
    full_device[0] = False
    book.commit()
    assert (book.committed, [each.seq for each in transactions(path)]) == (1, [1])
    book.close()


def test_closing_waits_for_the_disk_with_what_answered_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    book = Ledger(path)
    monkeypatch.setattr(os, "fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    book.append(1, CAUSE, [])
    book.commit()
    assert not synced
    book.close()
    assert synced == [path.stat().st_size]
