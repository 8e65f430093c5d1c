"""What the benchmarks of the backtester rest on, without peers; ``test_benchmarks_smoke`` runs them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import backtest, sweep
from benchmarks.peers import environments
from benchmarks.peers.environments import PEERS, REQUIREMENTS, PeerMissingError, python_of
from benchmarks.peers.njord import make
from benchmarks.peers.processes import EngineProcess
from benchmarks.peers.protocol import Bars
from benchmarks.processes import ProcessError
from benchmarks.result import VerificationError

TINY_LOOPS = ("bare", "compiled", "event", "kernel", "numba", "numba_kept", "risk")


@pytest.mark.full
@pytest.mark.parametrize("timing", ["close", "open"])
def test_every_engine_and_floor_of_ours_comes_to_the_same_trips_and_equity(
    timing: str,
) -> None:
    bars = backtest.walk(1_500)
    job = {"fast": 5, "slow": 40, "timing": timing, "repeats": 1}

    answers = {}
    for engine in TINY_LOOPS:
        mine = {**job, "engine": engine}
        made = make(bars, mine)
        answers[engine] = made.read(made.run(made.arrange(mine)))

    first = answers["bare"]
    assert first["trips"] > 0
    for answer in answers.values():
        assert answer["trips"] == first["trips"]
        assert answer["final"] == pytest.approx(first["final"], abs=backtest.TOLERANCE)


def test_the_grids_have_the_sizes_that_they_are_called_by() -> None:
    assert [len(fasts) * len(slows) for fasts, slows in (sweep.SMALL, sweep.LARGE)] == [400, 10_000]
    assert all(max(fasts) < min(slows) for fasts, slows in (sweep.SMALL, sweep.LARGE))


@dataclass
class Told:
    """A process that answers what it is told to."""

    answer: Mapping[str, Any]

    def ask(self, **_: Any) -> Mapping[str, Any]:
        return self.answer


@pytest.mark.parametrize("answer", [{"trips": 616, "final": 100.0}, {"trips": 617, "final": 101.0}])
def test_an_engine_that_comes_to_something_else_is_named_with_what_it_gave(answer: dict[str, Any]) -> None:
    timed = backtest.Timed("a peer", Told(answer))  # type: ignore[arg-type]  # stands in for a process

    with pytest.raises(VerificationError, match="a peer, filled at the close: expected 617 round trips"):
        timed.verify(617, {"close": 100.0, "open": 99.0})


def test_an_engine_that_knows_one_way_to_fill_is_said_to() -> None:
    timed = backtest.Timed("a peer", Told({"trips": 1, "final": 99.0}))  # type: ignore[arg-type]  # see above

    timed.verify(1, {"close": 100.0, "open": 99.0})

    assert timed.filled == "fills at the open"


def test_an_engine_that_fails_is_reported_with_what_it_said(tmp_path: Path) -> None:
    path = tmp_path / "bars.npz"
    backtest.walk(10).save(path)

    with pytest.raises(ProcessError, match="KeyError: 'no_such_engine'"):
        EngineProcess(sys.executable, "benchmarks.peers.njord", path, {"engine": "no_such_engine"}, tmp_path)


def test_a_peer_that_cannot_be_installed_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installer = tmp_path / "uv"
    installer.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    installer.chmod(0o755)
    monkeypatch.setattr(environments, "FOLDER", tmp_path / "peers")
    monkeypatch.setattr("benchmarks.peers.environments.shutil.which", lambda *_, **__: str(installer))

    with pytest.raises(PeerMissingError, match="backtrader: could not be installed: no such package"):
        python_of("backtrader")


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_is_pinned_with_everything_that_it_brings(peer: str) -> None:
    lines = (REQUIREMENTS / f"{peer}.txt").read_text().splitlines()

    assert all("==" in line for line in lines)
    assert any(line.startswith(peer.replace("_", "-")) for line in lines)


def test_bars_come_back_as_they_were_saved(tmp_path: Path) -> None:
    bars = replace(backtest.walk(5), volume=np.arange(5.0))
    bars.save(tmp_path / "bars.npz")

    assert np.array_equal(Bars.load(tmp_path / "bars.npz").volume, bars.volume)
    assert len(bars.first(3)) == 3
