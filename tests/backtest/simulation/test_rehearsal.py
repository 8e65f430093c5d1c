"""The fleet through seeded faults: every seed must be sound, the same seed the same, and a broken one repeatable."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from backtest.simulation import command
from backtest.simulation.rehearsal import rehearse
from backtest.simulation.world.faults import ALL, named, plan
from core.errors import ConfigError
from core.ledger import Ledger
from tests.conftest import ROOT
from tests.support.invariants import assert_hold, journal

FIRST_SEEDS = range(1, 4)
MORE_SEEDS = [range(first, first + 10) for first in range(4, 204, 10)]
MINUTES = 0.6
FOUND = [
    line.partition("#")[0].split()
    for line in (ROOT / "tests" / "rehearsal_seeds.txt").read_text().splitlines()
    if line.partition("#")[0].strip()
]


def must_be_sound(seed: int, minutes: float, faults: str = "all") -> None:
    report = rehearse(seed, minutes=minutes, faults=faults)
    assert not report.violations, command.violations_text(report)


@pytest.mark.parametrize(
    "seeds",
    [FIRST_SEEDS, *(pytest.param(seeds, marks=pytest.mark.full) for seeds in MORE_SEEDS)],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
def test_every_seed_is_sound(seeds: range) -> None:
    for seed in seeds:
        must_be_sound(seed, MINUTES)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", range(50))
def test_five_thousand_more_seeds_are_sound(group: int) -> None:
    for seed in range(1_000 + group * 100, 1_100 + group * 100):
        must_be_sound(seed, 1.0)


@pytest.mark.parametrize(("seed", "minutes", "faults"), FOUND, ids=[" ".join(each) for each in FOUND])
def test_what_was_found_once_is_not_there_again(seed: str, minutes: str, faults: str) -> None:
    must_be_sound(int(seed), float(minutes), faults)


@pytest.mark.full
@pytest.mark.parametrize("kind", ALL)
def test_each_kind_of_fault_alone_is_survived_and_does_strike(kind: str) -> None:
    reports = [rehearse(seed, minutes=MINUTES, faults=kind) for seed in (1, 2)]

    assert [report.violations for report in reports] == [(), ()]
    assert any(kind in report.injected for report in reports)


def test_without_faults_the_fleet_trades_and_nothing_is_repeated_or_lost(tmp_path: Path) -> None:
    report = rehearse(1, minutes=1.5, faults="none", keep=tmp_path / "run")

    assert (report.violations, report.injected, report.crashes) == ((), {}, 0)
    assert min(report.counts.values()) > 10
    assert_hold(tmp_path / "run")
    denied = [each for each in journal(tmp_path / "run" / "journals", "risk.decisions") if not each["allowed"]]
    assert any(each["reason"].startswith("PER_ORDER_CAP") for each in denied)


def test_the_same_seed_writes_the_same_bytes_also_in_another_process() -> None:
    report = rehearse(5, minutes=MINUTES)
    script = f"from backtest.simulation.rehearsal import rehearse; print(rehearse(5, minutes={MINUTES}).sha256)"
    environ = {**os.environ, "PYTHONHASHSEED": "77"}
    other = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )

    assert rehearse(5, minutes=MINUTES).sha256 == report.sha256 == other.stdout.strip()
    assert rehearse(6, minutes=MINUTES).sha256 != report.sha256


def test_a_broken_seed_says_what_broke_what_happened_before_and_how_to_repeat_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with patch.object(Ledger, "sync", lambda self: self._journal.flush()):
        status = command.main(["--seeds", "2", "--from", "3", "--minutes", "0.5"])
    said = capsys.readouterr().out

    assert status == 1
    assert "before it was durable" in said
    assert "the last events before it:" in said
    assert "python -m backtest.simulation.rehearsal --seed 3 --minutes 0.5 --faults all" in said
    assert command.main(["--seed", "3", "--minutes", "0.5", "--faults", "all"]) == 0
    assert "SHA-256" in capsys.readouterr().out


def test_json_has_one_object_per_seed_with_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--seeds", "2", "--minutes", "0.1", "--faults", "crash,flush", "--json"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert (
        '"command": "python -m backtest.simulation.rehearsal --seed 1 --minutes 0.1 --faults crash,flush"' in lines[0]
    )


def test_an_unknown_kind_of_fault_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="lost-answer"):
        named("earthquake")

    assert command.main(["--faults", "earthquake"]) == 2
    assert "expected all, none or some of crash" in capsys.readouterr().err


def test_kept_files_are_those_that_were_judged(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    report = rehearse(2, minutes=0.2, faults="none", keep=kept)

    whole = hashlib.sha256()
    for path in sorted(kept.rglob("*.ndjson*")):
        whole.update(f"{path.relative_to(kept)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    assert report.sha256 == whole.hexdigest()
    with pytest.raises(ConfigError, match="empty folder"):
        rehearse(2, minutes=0.2, faults="none", keep=kept)


def test_the_plan_of_a_seed_has_every_kind_somewhere_and_ends_in_time() -> None:
    struck = {strike.kind for seed in range(1, 201) for strike in plan(seed, ALL, 36.0)}
    late = [s for seed in range(1, 201) for s in plan(seed, ALL, 36.0) if s.at_s + s.for_s > 36.0 + 1e-9]

    assert struck == set(ALL)
    assert late == []


def test_help_needs_none_of_the_fleet() -> None:
    script = (
        "import sys; from backtest.simulation.command import main; main(['--help']); "
        "assert not {'pydantic', 'core.service.daemon', 'risk'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def test_a_rehearsal_leaves_the_working_folder_and_the_loop_policy_as_they_were() -> None:
    before = Path.cwd()
    rehearse(1, minutes=0.1)

    assert Path.cwd() == before
    assert asyncio.run(asyncio.sleep(0, "alive")) == "alive"
