"""Real daemons whose disk refuses in the middle of the work and takes again: careful meanwhile, complete afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest

from core.daemons import LEDGERED
from tests.support.fleet_config import busy_installation
from tests.support.invariants import assert_hold, journal, waiting
from tests.support.kills.disk import filled, folder_instead_of, refusing_writes, small_disk
from tests.support.kills.server import KillableServer
from tests.support.kills.streams import stream_faults
from tests.support.processes import DAEMONS, Processes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
FEED = ("--feed", "synthetic:11:600", "--speed", "10x")
DISK_BYTES = 48 * 1024 * 1024


@pytest.fixture
def server() -> Iterator[KillableServer]:
    with KillableServer() as running:
        yield running


@pytest.fixture
def fleet(server: KillableServer, tmp_path: Path) -> Iterator[Processes]:
    with Processes(server.url, tmp_path / "run", busy_installation(tmp_path)) as processes:
        yield processes


def lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that is being written."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []


def decisions(fleet: Processes) -> list[dict[str, Any]]:
    """What the risk engine has on record, in order: decisions and changes of state."""
    return [
        said["event"]
        for transaction in lines(fleet.ledgers / "risk_engine.ndjson")
        for said in transaction["events"]
        if said["topic"] in ("risk.decisions", "risk.state")
    ]


def states(fleet: Processes) -> list[str]:
    """The states of the risk engine in order."""
    return [each["state"] for each in decisions(fleet) if "state" in each]


def allowed(fleet: Processes) -> int:
    """How many intents were allowed so far."""
    return sum(bool(each.get("allowed")) for each in decisions(fleet))


def trouble(fleet: Processes, name: str) -> str:
    """What a daemon says that it cannot write."""
    return str(fleet.health(name).get("trouble", ""))


def refused(fleet: Processes, name: str) -> bool:
    """Whether a daemon waits for its ledger. A journal may be refused a moment before, which alone stops nobody."""
    report = fleet.health(name)
    return bool(report.get("trouble")) and report.get("ready") is False


def begin(fleet: Processes) -> None:
    """Start everything, and wait until orders are allowed."""
    fleet.start_ready(*DAEMONS)
    fleet.start("md_ingest", *FEED)
    wait_until(lambda: allowed(fleet) > 3, what="orders are allowed")


def finish(fleet: Processes, server: KillableServer) -> None:
    """Trading goes on; come to rest, stop, and look at everything."""
    before = allowed(fleet)
    wait_until(lambda: allowed(fleet) > before, what="orders are allowed again")
    fleet.running["md_ingest"].terminate()
    assert fleet.exit_code("md_ingest") == 0, fleet.stderr("md_ingest")[-2000:]
    wait_until(lambda: not waiting(fleet.folder), what="the fleet comes to rest")
    assert stream_faults(server.url, fleet.folder) == []
    assert set(fleet.stop().values()) == {0}
    assert_hold(fleet.folder)


@pytest.mark.full
def test_a_daemon_that_cannot_write_says_so_decides_nothing_and_goes_on_when_it_can(
    fleet: Processes, server: KillableServer
) -> None:
    begin(fleet)
    for daemon in LEDGERED:
        refuse_and_accept(fleet, daemon)
    wait_until(lambda: states(fleet)[:2] == ["REDUCING", "ACTIVE"], what="careful first, then as before")
    finish(fleet, server)


def refuse_and_accept(fleet: Processes, daemon: str) -> None:
    """Not a byte is taken from one daemon until it says so, then again."""
    ledger = fleet.ledgers / f"{daemon}.ndjson"
    with refusing_writes(fleet.running[daemon].pid):
        wait_until(lambda: refused(fleet, daemon), what=f"{daemon} says that it cannot write, and is not ready")
        size = ledger.stat().st_size
        assert fleet.running[daemon].poll() is None
    wait_until(lambda: ledger.stat().st_size > size, what=f"{daemon} goes on")
    wait_until(lambda: fleet.health(daemon).get("ready") and not trouble(fleet, daemon), what=f"{daemon} is well")


@pytest.mark.full
def test_while_a_journal_cannot_be_written_the_risk_engine_is_careful_and_afterwards_nothing_is_missing_in_it(
    fleet: Processes, server: KillableServer
) -> None:
    fleet.start_ready(*DAEMONS)
    with folder_instead_of(fleet.journals / "orders.accepted.ndjson"):
        fleet.start("md_ingest", *FEED)
        wait_until(lambda: states(fleet) == ["REDUCING"], what="the risk engine is careful")
        wait_until(lambda: trouble(fleet, "risk_engine"), what="and says why")
        wait_until(lambda: len(decisions(fleet)) > 12, what="intents are decided on")
        said = decisions(fleet)
    wait_until(lambda: states(fleet) == ["REDUCING", "ACTIVE"], what="it trades again")
    wait_until(lambda: not trouble(fleet, "risk_engine"), what="and is well")
    finish(fleet, server)

    at = next(place for place, each in enumerate(said) if "state" in each)
    assert [each["allowed"] for each in said[:at]].count(True) == 1, "careful with the message after the first order"
    assert any(each.get("reason", "").startswith("REDUCING") for each in said[at + 1 :])
    assert len(journal(fleet.journals, "orders.accepted")) == allowed(fleet)


@pytest.mark.full
def test_what_reduces_a_position_still_passes_while_a_journal_cannot_be_written(
    fleet: Processes, server: KillableServer
) -> None:
    def reduced() -> bool:
        said = dropwhile(lambda each: each.get("state") != "REDUCING", decisions(fleet))
        return any(each.get("allowed") for each in said)

    begin(fleet)
    with folder_instead_of(fleet.journals / "risk.state.ndjson"):
        fleet.killswitch.touch()  # the first change of state makes that journal
        wait_until(lambda: trouble(fleet, "risk_engine"), what="the journal cannot be made")
        fleet.killswitch.unlink()
        wait_until(reduced, 120, what="something is reduced")
    wait_until(lambda: states(fleet)[-1] == "ACTIVE", what="it trades again")
    finish(fleet, server)

    assert [line["state"] for line in journal(fleet.journals, "risk.state")] == states(fleet)


def halt_and_resume_until(fleet: Processes, holds: Callable[[], object]) -> None:
    """Give the risk engine something to record: the last page of a file has room for a while on a full disk."""
    for _ in range(60):
        if holds():
            return
        known = len(states(fleet))
        fleet.killswitch.unlink() if fleet.killswitch.exists() else fleet.killswitch.touch()
        wait_until(lambda: holds() or len(states(fleet)) > known, what="the switch is on record")  # noqa: B023 — called at once
    raise AssertionError("a full disk that everything fits on")


@pytest.mark.full
def test_on_a_full_disk_what_is_held_in_reserve_keeps_the_daemons_careful_and_nothing_is_lost(
    fleet: Processes, server: KillableServer
) -> None:
    with small_disk(fleet.ledgers, DISK_BYTES) as mounted:
        if not mounted:
            pytest.skip("mounting a small file system is not allowed here: a full disk is left to the rehearsal")
        begin(fleet)
        with filled(fleet.ledgers):
            halt_and_resume_until(fleet, lambda: any(trouble(fleet, name) for name in LEDGERED))
            known = len(states(fleet))
            fleet.killswitch.unlink() if fleet.killswitch.exists() else fleet.killswitch.touch()
            wait_until(lambda: len(states(fleet)) > known, what="the switch is on record though the disk is full")
        wait_until(lambda: not any(trouble(fleet, name) for name in LEDGERED), what="everybody writes again")
        fleet.killswitch.unlink(missing_ok=True)
        wait_until(lambda: states(fleet)[-1] == "ACTIVE", what="it trades again")
        finish(fleet, server)
