"""Snapshots: starting from one is starting from the whole ledger, and whatever is wrong with one costs only time."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.md_ingest.main import SPEC as MD_INGEST
from apps.registry import BEHIND_THE_FEED
from core import codec
from core.component import Durable, Loadable
from core.config import Config
from core.contracts import Contract, KillSwitchEvent, TradeEvent
from core.disk import OS_DISK, Disk
from core.errors import LedgerCorruptError
from core.ledger.lines import seal
from core.ledger.snapshot import SnapshotFile
from core.service.embedded import EmbeddedFleet
from core.service.host import ComponentHost
from core.service.launch import assemble
from risk import RiskEngine
from tests.support.failing_disk import Crash, FailingDisk
from tests.support.fleet_config import busy_installation, config_in

T0 = 1_760_000_000_000_000_000
LEDGERED = [spec for spec in BEHIND_THE_FEED if spec.ledgered]
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NEVER = 0


class Step(NamedTuple):
    """A trade ``ticks`` of ten dollars higher, or the kill switch turned."""

    eth: bool
    ticks: int
    seconds: float
    kill: bool | None


STEPS = st.lists(
    st.builds(
        Step,
        st.booleans(),
        st.integers(-8, 8),
        st.sampled_from([0.1, 0.6, 1.1, 40_000.0]),
        st.sampled_from([None] * 12 + [True, False, False]),
    ),
    min_size=10,
    max_size=120,
)


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return busy_installation(tmp_path_factory.mktemp("installation"))


def fleet_in(config: Config, every: int, disk: Disk = OS_DISK) -> tuple[EmbeddedFleet, list[ComponentHost]]:
    hosts = [assemble(spec, config, durable=False, snapshot_every=every, disk=disk) for spec in BEHIND_THE_FEED]
    fleet = EmbeddedFleet(assemble(MD_INGEST, config), hosts)
    fleet.recover()
    return fleet, hosts


def play(fleet: EmbeddedFleet, steps: Sequence[Step], start: int = 0) -> None:
    now, prices = T0 + start * 10**9, [60_000.0, 3_000.0]
    for number, step in enumerate(steps, start):
        now += int(step.seconds * 1e9)
        if step.kill is not None:
            fleet.tell(KillSwitchEvent(step.kill, "file", now))
        prices[step.eth] += step.ticks * 10.0
        symbol = "ETH/USDT" if step.eth else "BTC/USDT"
        fleet.feed(TradeEvent(symbol, prices[step.eth], 0.5, "buy", now, str(number), "x", now))


def known(host: ComponentHost) -> dict[str, Any]:
    assert isinstance(host.component, Durable)
    assert host.ledger is not None
    return {
        "state": codec.encode_plain(host.component.snapshot()),
        "consumed": host.consumed,
        "streams": host.streams,
        "told": host.newest_entry,
        "halted": host.halted,
        "origins": {name: host.progress.origins[name] for name in host.progress.kept},
        "seq": host.ledger.seq,
        "identity": host.ledger.identity,
        "place": host.ledger.place,
        "now": host.clock.now_ns(),
        "trouble told": host.progress.trouble_told,
    }


def recovered(config: Config, every: int) -> dict[str, Any]:
    found = {}
    for spec in LEDGERED:
        host = assemble(spec, config, durable=False, snapshot_every=every)
        host.recover()
        found[spec.name] = known(host)
        host.abandon()
    return found


def files(folder: Path, *suffixes: str) -> dict[str, bytes]:
    wanted = (path for suffix in suffixes for path in folder.rglob(f"*{suffix}"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in wanted if path.name != "app.ndjson"}


def without_snapshots(folder: Path) -> None:
    for path in folder.rglob("*.snapshot"):
        path.unlink()


@pytest.mark.full
@QUICK
@given(before=STEPS, after=STEPS, every=st.integers(1, 60), cut=st.integers(0, 5))
def test_a_snapshot_and_the_tail_give_what_the_whole_ledger_gives(
    tmp_path_factory: pytest.TempPathFactory,
    installation: Path,
    before: list[Step],
    after: list[Step],
    every: int,
    cut: int,
) -> None:
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    fleet, hosts = fleet_in(config_in(one, installation), every)
    play(fleet, before)
    live = {host.name: known(host)["state"] for host in hosts if host.ledger is not None}
    for host in (fleet.source, *hosts):  # killed: nothing is written down for the occasion
        host.abandon()
    shutil.copytree(one, other, dirs_exist_ok=True)
    without_snapshots(other)
    for folder in (one, other):
        for journal in (*folder.rglob("fills.*.ndjson"), *folder.rglob("risk.decisions.ndjson")):
            lines = journal.read_bytes().splitlines(keepends=True)
            journal.write_bytes(b"".join(lines[: max(0, len(lines) - cut)]))  # a projection that lags
    from_snapshot = recovered(config_in(one, installation), every)
    from_ledger = recovered(config_in(other, installation), NEVER)
    assert from_snapshot == from_ledger
    assert {name: each["state"] for name, each in from_snapshot.items()} == live
    assert files(one, ".ndjson") == files(other, ".ndjson")
    for folder, how_often in ((one, every), (other, NEVER)):  # and it goes on in the same way
        fleet, _ = fleet_in(config_in(folder, installation), how_often)
        play(fleet, after, len(before))
        fleet.close()
    assert files(one, ".ndjson") == files(other, ".ndjson")


# ---- what may be wrong with a snapshot


BUSY_DAY = [Step(False, (-1) ** (number // 7) * 3, 1.1, None) for number in range(80)]


@pytest.fixture
def traded(tmp_path: Path, installation: Path) -> Config:
    """What a fleet leaves that was closed after it had traded, snapshots included."""
    config = config_in(tmp_path, installation)
    fleet, _ = fleet_in(config, 10)
    play(fleet, BUSY_DAY)
    fleet.close()
    return config


def spoil(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    """Rewrite a snapshot, its own hash included."""

    def spoiled(path: Path) -> None:
        plain = codec.decode_plain(path.read_bytes())
        del plain["hash"]
        change(plain)
        path.write_bytes(seal(codec.encode_plain(plain))[0] + b"\n")

    return spoiled


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


WRONG: dict[str, Callable[[Path], object]] = {
    "a bit is flipped": flip,
    "it is empty": lambda path: path.write_bytes(b""),
    "it is cut short": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "it is of another format": spoil(lambda plain: plain.update(format=2)),
    "it is of another state format": spoil(lambda plain: plain.update(version=2)),
    "it is another daemon's": spoil(lambda plain: plain.update(daemon="paper_trader")),
    "it is of another ledger": spoil(lambda plain: plain.update(ledger="0" * 16)),
    "its transaction is another": spoil(lambda plain: plain.update(at="0" * 64)),
    "its place is beyond the ledger": spoil(lambda plain: plain.update(offset=10**9)),
    "its state cannot be loaded": spoil(lambda plain: plain["state"].update(positions={})),
    "its state fails half-way": spoil(lambda plain: plain["state"].pop("decided")),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_a_snapshot_that_does_not_fit_is_passed_over_and_said(
    traded: Config, wrong: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    expected = recovered(traded, NEVER)
    wrong(traded.ledger_dir / "risk_engine.snapshot")
    with caplog.at_level(logging.WARNING, "njord.host"):
        assert recovered(traded, 10) == expected
    (line,) = [each for each in caplog.messages if "passed over" in each]
    assert "risk_engine" in line


def test_a_snapshot_that_fits_is_used_and_the_ledger_before_it_is_not_read(
    traded: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovered_causes: list[Contract | None] = []
    monkeypatch.setattr(RiskEngine, "recover", lambda self, cause, events: recovered_causes.append(cause))
    host = assemble(LEDGERED[1], traded, durable=False)
    assert host.name == "risk_engine"
    assert host.recover() > 10
    host.abandon()
    assert recovered_causes == []


def test_a_ledger_that_was_cut_back_behind_its_snapshot_is_folded_as_it_is(traded: Config) -> None:
    path = traded.ledger_dir / "risk_engine.ndjson"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-3]))
    found = recovered(traded, 10)
    without_snapshots(traded.ledger_dir)
    assert found == recovered(traded, NEVER)
    assert found["risk_engine"]["seq"] == len(lines) - 3


def test_the_tail_behind_a_snapshot_is_verified(traded: Config) -> None:
    fleet, _ = fleet_in(traded, 10**9)
    play(fleet, BUSY_DAY, len(BUSY_DAY))
    for host in (fleet.source, *fleet.hosts):
        host.abandon()
    flip_last(traded.ledger_dir / "risk_engine.ndjson")
    host = assemble(LEDGERED[1], traded, durable=False)
    with pytest.raises(LedgerCorruptError):
        host.recover()
    host.abandon()


def flip_last(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("lost", ["the last line", "all", "what it was cut to"])
def test_journals_that_do_not_fit_the_snapshot_are_completed_from_the_whole_ledger(traded: Config, lost: str) -> None:
    journal = traded.log_dir / "risk.decisions.ndjson"
    whole = journal.read_bytes()
    lines = whole.splitlines(keepends=True)
    kept: Iterable[bytes] = {"the last line": lines[:-1], "all": (), "what it was cut to": lines[:2]}[lost]
    journal.write_bytes(b"".join(kept))
    recovered(traded, 10)
    assert journal.read_bytes() == whole


def test_a_state_that_is_not_plain_is_not_written(traded: Config, tmp_path: Path) -> None:
    path = traded.ledger_dir / "risk_engine.ndjson"
    snapshots = SnapshotFile(path)
    snapshot = snapshots.read("risk_engine", 1)
    assert snapshot is not None
    before = snapshots.path.read_bytes()
    for state in ({"a": (1, 2)}, {"a": {1: 2}}, {"a": float("inf")}):
        with pytest.raises(ValueError, match="plain JSON"):
            snapshots.write(msgspec.structs.replace(snapshot, state=state))
    assert snapshots.path.read_bytes() == before


@pytest.mark.full
@pytest.mark.parametrize("at", range(12))
def test_a_crash_while_a_snapshot_is_written_leaves_one_that_fits_or_none(traded: Config, at: int) -> None:
    path = traded.ledger_dir / "risk_engine.ndjson"
    disk = FailingDisk()
    snapshot = SnapshotFile(path).read("risk_engine", 1)
    assert snapshot is not None
    disk.crash_after = at
    try:
        SnapshotFile(path, disk).write(snapshot)
    except Crash:
        assert at < 6
    assert SnapshotFile(path).read("risk_engine", 1) == snapshot


def test_a_disk_that_refuses_the_snapshot_keeps_nobody_from_working(
    tmp_path: Path, installation: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class NoSnapshots(FailingDisk):
        def rename(self, source: Path, target: Path) -> None:
            if target.suffix == ".snapshot":
                raise OSError(30, "Read-only file system")
            super().rename(source, target)

    config = config_in(tmp_path, installation)
    with caplog.at_level(logging.WARNING, "njord.host"):
        fleet, hosts = fleet_in(config, 5, NoSnapshots())
        play(fleet, BUSY_DAY)
        live = {host.name: known(host)["state"] for host in hosts if host.ledger is not None}
        fleet.close()
    assert any("no snapshot of risk_engine" in each for each in caplog.messages)
    assert not [*config.ledger_dir.glob("*.snapshot*")]
    assert {name: each["state"] for name, each in recovered(config, 10).items()} == live


def test_every_ledgered_daemon_starts_from_snapshots(traded: Config) -> None:
    for spec in LEDGERED:
        component = spec.build(traded)
        assert isinstance(component, Loadable), spec.name
        assert (traded.ledger_dir / f"{spec.name}.snapshot").exists(), spec.name
