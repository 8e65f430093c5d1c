"""A sweep that is killed, interrupted or torn goes on where it was and ends with the same table, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.backtests.runs import ATOM, csv_of
from tests.support.backtests.sweep_strategies import FOLDER
from tests.support.waiting import DEFAULT_LIMIT_S, patience, wait_until

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A CSV of 400 bars."""
    return csv_of(tmp_path)


def start(data: Path, folder: Path, strategy: str, *more: str) -> subprocess.Popen[str]:
    """A sweep of seven sets in a session of its own."""
    folder.mkdir(exist_ok=True)
    arguments = [
        *("--strategy", "swept", "--class", f"tests.support.backtests.sweep_strategies.{strategy}", "--symbol", ATOM),
        *("--data", str(data), "--out", str(folder), "--param", "fast=3,5,8", "--param", "slow=5,10,20"),
        *("--where", "fast < slow", "--workers", "1", *more),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "backtest.param_sweep", *arguments],
        cwd=ROOT,
        env={**os.environ, FOLDER: str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(sweep: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    out, err = sweep.communicate(timeout=patience(DEFAULT_LIMIT_S))
    return sweep.returncode, out, err


def table(folder: Path) -> bytes:
    return (folder / "sweep_results.csv").read_bytes()


def checkpoint(folder: Path) -> Path:
    (found,) = (folder / "sweeps").glob("*.ndjson")
    return found


def wait_until_gone(pid: int) -> None:
    """Until the process has ended; one that nobody has asked for its status yet has ended too."""
    stat = Path("/proc", str(pid), "stat")

    def gone() -> bool:
        with suppress(OSError):
            return stat.read_text().rpartition(")")[2].split()[0] == "Z"
        return not stat.exists()

    wait_until(gone, what=f"the end of process {pid}")


@pytest.fixture
def whole(data: Path, tmp_path: Path) -> Path:
    """The folder of a sweep that nothing disturbed."""
    folder = tmp_path / "whole"
    folder.mkdir()
    (folder / "killed").touch()
    status, _, err = ended(start(data, folder, "KillsItsSweep"))
    assert status == 0, err
    return folder


@pytest.mark.full
def test_a_killed_sweep_goes_on_and_ends_with_the_same_table(data: Path, tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "killed"
    status, _, _ = ended(start(data, folder, "KillsItsSweep"))
    assert status == -signal.SIGKILL
    assert not (folder / "sweep_results.csv").exists()
    wait_until_gone(int((folder / "killed").read_text()))  # its worker does not outlive it
    done = checkpoint(folder).read_bytes().count(b"\n") - 1

    status, out, err = ended(start(data, folder, "KillsItsSweep"))

    assert status == 0, err
    assert done >= 2
    assert "sets are known from" in out
    assert table(folder) == table(whole)
    assert len(next((folder / "trials").iterdir()).read_bytes().splitlines()) == 7


@pytest.mark.full
def test_a_torn_last_line_is_run_again(data: Path, tmp_path: Path, whole: Path) -> None:
    before = table(whole)
    lines = checkpoint(whole).read_bytes().splitlines(keepends=True)
    checkpoint(whole).write_bytes(b"".join(lines[:-1]) + lines[-1][:40])

    status, out, err = ended(start(data, whole, "KillsItsSweep"))

    assert status == 0, err
    assert "sets are known from" in out
    assert table(whole) == before
    assert sum(len(json.loads(line)["rows"]) for line in checkpoint(whole).read_bytes().splitlines()[1:]) == 7


@pytest.mark.full
def test_other_parameters_start_anew_and_say_so(data: Path, whole: Path) -> None:
    status, out, err = ended(start(data, whole, "KillsItsSweep", "--param", "exit=1", "--commission", "0.002"))
    assert status == 1
    assert "all 7 sets failed" in err  # there is no parameter `exit`

    status, out, err = ended(start(data, whole, "KillsItsSweep", "--commission", "0.002"))

    assert status == 0, err
    assert "starting anew: since the latest sweep, the configuration changed" in out


@pytest.mark.full
def test_interrupting_ends_at_once_and_keeps_what_is_done(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "interrupted"
    sweep = start(data, folder, "NeverEnds")
    mark = folder / "begun"
    wait_until(lambda: sweep.poll() is not None or (mark.exists() and mark.read_text()), what="a set is being run")
    assert sweep.poll() is None
    worker = int(mark.read_text())

    os.killpg(sweep.pid, signal.SIGINT)
    status, _, err = ended(sweep)

    assert status == 130
    assert err.splitlines()[-1].startswith("sweep: interrupted after ")
    assert "Traceback" not in err
    wait_until_gone(worker)
    assert json.loads(checkpoint(folder).read_bytes().splitlines()[0])["name"] == "swept_ATOMUSDT"


@pytest.mark.full
def test_a_worker_that_dies_ends_the_sweep_with_a_sentence(data: Path, tmp_path: Path) -> None:
    status, _, err = ended(start(data, tmp_path / "died", "EndsItsProcess"))

    assert status == 1
    assert err.splitlines()[-1].startswith("sweep: a worker died, perhaps for want of memory")
