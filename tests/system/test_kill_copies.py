"""Two copies of one daemon: a second writer on the same folder, and one on a copy of the ledger somewhere else."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fleet_config import busy_installation
from tests.support.invariants import assert_hold, waiting
from tests.support.kills.server import KillableServer
from tests.support.kills.streams import stream_faults
from tests.support.processes import DAEMONS, Processes
from tests.support.redis_server import spare_port
from tests.support.waiting import patience, wait_until

pytestmark = pytest.mark.timeout(600)
FEED = ("--feed", "synthetic:11:600", "--speed", "10x")
OF_PAPER = ("fills.*", "orders.updates.*", "positions.*")  # the journals that the paper trader writes


@pytest.fixture
def server() -> Iterator[KillableServer]:
    with KillableServer() as running:
        yield running


@pytest.fixture
def fleet(server: KillableServer, tmp_path: Path) -> Iterator[Processes]:
    with Processes(server.url, tmp_path / "run", busy_installation(tmp_path)) as processes:
        yield processes


def size(path: Path) -> int:
    """How long a file is."""
    return path.stat().st_size if path.exists() else 0


def test_a_second_copy_on_the_same_folder_is_refused_and_the_first_goes_on(fleet: Processes) -> None:
    fleet.start_ready("paper_trader")
    second = fleet.spawn("paper_trader", spare_port())
    try:
        code = second.wait(patience(60))
    finally:
        second.kill()
        second.wait()

    assert code == 1
    assert "is being written by another process" in fleet.stderr("paper_trader")
    assert fleet.health("paper_trader")["ready"]
    assert fleet.stop() == {"paper_trader": 0}


@pytest.mark.full
def test_the_older_of_two_copies_on_two_folders_sends_nothing_more_and_ends(
    fleet: Processes, server: KillableServer, tmp_path: Path
) -> None:
    fleet.start_ready(*DAEMONS)
    fleet.start("md_ingest", *FEED)
    wait_until(lambda: size(fleet.ledgers / "paper_trader.ndjson") > 20_000, what="orders are filled")
    older = fleet.running["paper_trader"]
    older.send_signal(signal.SIGSTOP)  # as a machine that hangs; somebody starts the daemon on another one
    other = copied(fleet, tmp_path / "other")
    folders = {"NJORD_APP__LEDGER_DIR": str(other / "ledgers"), "NJORD_APP__LOG_DIR": str(other / "journals")}
    fleet.start("paper_trader", environ=folders)
    try:
        fleet.wait_ready("paper_trader")
        ledger = other / "ledgers" / "paper_trader.ndjson"
        before = size(ledger)
        wait_until(lambda: size(ledger) > before, what="the newer one works")
    finally:
        older.send_signal(signal.SIGCONT)

    assert older.wait(patience(60)) == 1
    assert "another copy" in fleet.stderr("paper_trader").lower()
    seen = newest_of_both(fleet, other, tmp_path / "seen")
    fleet.running["md_ingest"].terminate()
    assert fleet.exit_code("md_ingest") == 0
    wait_until(lambda: not waiting(seen), what="the fleet comes to rest")
    assert stream_faults(server.url, seen) == []
    assert set(fleet.stop().values()) == {0}
    newest_of_both(fleet, other, seen)
    assert_hold(seen)


def copied(fleet: Processes, into: Path) -> Path:
    """The ledger and the journals of the paper trader in another place."""
    for folder, names in ((fleet.ledgers, ("paper_trader.ndjson",)), (fleet.journals, OF_PAPER)):
        (into / folder.name).mkdir(parents=True)
        for path in (path for name in names for path in folder.glob(name)):
            shutil.copy(path, into / folder.name / path.name)
    return into


def newest_of_both(fleet: Processes, other: Path, into: Path) -> Path:
    """A folder that points to the files of the newer paper trader, and to those of everybody else."""
    for folder in (other / "ledgers", other / "journals", fleet.ledgers, fleet.journals):
        (into / folder.name).mkdir(parents=True, exist_ok=True)
        ours = {path for name in OF_PAPER for path in fleet.journals.glob(name)}
        for path in set(folder.glob("*.ndjson")) - ours:
            link = into / folder.name / path.name
            if not link.exists():
                link.symlink_to(path)
    return into
