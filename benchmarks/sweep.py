"""The same strategy over grids of periods: ours beside vectorbt and backtesting.py, on all cores, with its memory.

All final equities are compared before anything is timed. Memory is the most that the whole tree of processes held,
pages that it shares counted once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.backtest import month, other, own
from benchmarks.peers.environments import PeerMissingError
from benchmarks.peers.processes import EngineProcess
from benchmarks.peers.protocol import COMMISSION
from benchmarks.processes import ProcessError
from benchmarks.result import Budget, Figure, Result, VerificationError, verify
from benchmarks.workload import Workload

Grid = tuple[range, range]
SMALL: Final[Grid] = (range(5, 44, 2), range(50, 241, 10))
LARGE: Final[Grid] = (range(2, 102), range(105, 403, 3))
TINY: Final[Grid] = (range(5, 15, 5), range(50, 71, 10))
SPEED: Final = Budget("at least", 30, "ratio")
MEMORY: Final = Budget("at most", 0.1, "ratio")
BACKTESTING: Final = "backtesting.py"
SAME: Final = "vectorbt, the same metrics"
TOLERANCE: Final = 1e-3  # of a final equity: others add up in floats
WIDE: Final = 400  # columns at a time, as one would write it who has the memory
BLOCK: Final = 20  # columns that vectorbt is given at a time: what was fastest, and needs the least memory
LONG_S: Final = 30.0  # what takes longer runs once: starting up is lost in it
TOO_LONG_S: Final = 180.0  # what would take longer is extrapolated


@dataclass(frozen=True)
class Swept:
    """The time of an engine for a grid. ``extrapolated`` from the smaller grid, which is then the one that was run."""

    label: str
    sets: int
    wall_s: float
    cpu_s: float
    peak_mib: float
    version: str = ""
    extrapolated: bool = False

    def note(self) -> str:
        """For people."""
        cost = f"wall {self.wall_s:,.3g} s, CPU {self.cpu_s:,.3g} s, {self.peak_mib:,.0f} MiB"
        return "; ".join(part for part in (self.version, cost, "extrapolated" if self.extrapolated else "") if part)

    def details(self) -> dict[str, float]:
        """For scripts."""
        return {"wall_s": self.wall_s, "cpu_s": self.cpu_s, "peak_mib": self.peak_mib, "sets": self.sets}


def run(work: Workload) -> Result:
    """The small grid in every engine, then the large one in those that are fast enough."""
    bars, _ = month(work)
    path = work.folder / "bars.npz"
    bars.save(path)
    small, large = (TINY, None) if work.tiny else (SMALL, None if work.quick else LARGE)
    sweep = Sweep(path, work, bars.close[-1].item())
    figures = list(sweep.figures(small, ("compiled", "event")))
    if large is not None:
        figures += sweep.figures(large, ("compiled",))
    done = [
        f"{len(bars):,} bars, final equities of {' and '.join(f'{n:,}' for n in sweep.compared)} sets equal in all",
        *(f"fast {_span(g[0])}, slow {_span(g[1])}" for g in (small, large) if g is not None),
        *(f"not measured: {reason}" for reason in sweep.absent),
    ]
    return Result("sweep", figures, "; ".join(done))


class Sweep:
    """Runs grids and keeps what is needed to extrapolate."""

    def __init__(self, bars: Path, work: Workload, last_close: float) -> None:
        self.absent: list[str] = []
        self.compared: list[int] = []
        self._bars = bars
        self._work = work
        self._last_fee = COMMISSION * last_close
        self._slow: dict[str, Swept] = {}

    def figures(self, grid: Grid, engines: Sequence[str]) -> Iterator[Figure]:
        """One grid: ours with what they are held to, and each peer."""
        sets = [(fast, slow) for fast in grid[0] for slow in grid[1]]
        swept_by_engine, finals = {}, None
        for engine in engines:
            with own(self._bars, self._work.folder, engine, "njord_sweep", watch=True, sets=sets) as process:
                swept_by_engine[engine] = self._timed(f"{engine} engine", process, sets, finals)
                finals = finals or process.ready["finals"]
        assert finals is not None
        self.compared.append(len(sets))
        for name, peer, job in () if self._work.tiny else _peers(grid, sets):
            swept = self._peer(name, peer, job, sets, finals)
            if swept is not None:
                swept_by_engine[name] = swept
        yield from _figures(swept_by_engine, len(sets))

    def _peer(
        self, name: str, peer: str, job: dict[str, Any], sets: list[tuple[int, int]], finals: list[float]
    ) -> Swept | None:
        earlier = self._slow.get(name)
        if earlier is not None and (wall := earlier.wall_s / earlier.sets * len(sets)) > TOO_LONG_S:
            cpu = earlier.cpu_s / earlier.sets * len(sets)
            return Swept(name, len(sets), wall, cpu, earlier.peak_mib, earlier.version, extrapolated=True)
        try:
            with other(peer, self._bars, self._work.folder, watch=True, **job) as process:
                swept = self._timed(name, process, sets, finals)
        except (PeerMissingError, ProcessError, VerificationError) as reason:
            self.absent.append(f"{name}: {' '.join(str(reason).split())[-300:]}")
            return None
        if peer == "backtesting":
            self._slow[name] = swept
        return swept

    def _timed(
        self, engine: str, process: EngineProcess, sets: list[tuple[int, int]], finals: list[float] | None
    ) -> Swept:
        """The first run is looked at and warms up, the best of the next ones counts; a long one is its own."""
        ready = process.ready
        verify(f"sets of {engine}", len(sets), ready["sets"])
        if finals is not None:
            self._compare(engine, ready["finals"], finals, sets)
        answer = ready if ready["wall_s"] > LONG_S else process.ask(repeats=self._work.size(3, 2, 1))
        return Swept(engine, len(sets), answer["wall_s"], answer["cpu_s"], process.peak_mib, ready["version"])

    def _compare(self, engine: str, theirs: list[float], finals: list[float], sets: list[tuple[int, int]]) -> None:
        """Raises VerificationError unless they are equal; backtesting.py never fills what is sent on the last bar, at
        whose close the others pay the commission."""
        apart = np.array(theirs) - np.array(finals)
        wrong = np.abs(apart) >= TOLERANCE
        if engine == BACKTESTING:
            wrong &= np.abs(apart - self._last_fee) >= TOLERANCE
        if wrong.any():
            at = int(np.argmax(wrong))
            raise VerificationError(
                f"{engine}: expected a final equity of {finals[at]:,.3f} with periods {sets[at]}, "
                f"got {theirs[at]:,.3f}; {int(wrong.sum())} of {len(sets)} differ"
            )


def _peers(grid: Grid, sets: list[tuple[int, int]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    cores = os.cpu_count() or 1
    blocks = {"sets": sets, "block": BLOCK, "workers": cores}
    yield f"{SAME}, {cores} processes", "vectorbt", {**blocks, "full": True}
    yield f"vectorbt, final equity only, {cores} processes", "vectorbt", {**blocks, "full": False}
    yield f"{SAME}, one process", "vectorbt", {**blocks, "full": True, "workers": 1}
    yield f"{SAME}, {WIDE} at a time", "vectorbt", {**blocks, "full": True, "workers": 1, "block": WIDE}
    yield BACKTESTING, "backtesting", {"fasts": list(grid[0]), "slows": list(grid[1])}


def _figures(swept: dict[str, Swept], sets: int) -> Iterator[Figure]:
    same = [run for run in swept.values() if run.label.startswith(SAME)]
    beside = min(same, key=lambda run: run.wall_s, default=None)
    memory = [(run, MEMORY if str(WIDE) in run.label else None) for run in same]
    for name, engine in swept.items():
        ours = name in ("compiled", "event")
        floor = beside.sets / beside.wall_s if ours and beside is not None else None
        note = f"floor: {beside.label}; {engine.note()}" if floor and beside else engine.note()
        budget_of_ours = SPEED if floor and name == "compiled" else None
        yield Figure(
            f"{sets:,} sets, {engine.label}",
            sets / engine.wall_s,
            "sets/s",
            floor,
            budget_of_ours,
            note,
            engine.details(),
        )
        if name == "compiled":
            for peer, budget in memory:
                yield Figure(
                    f"{sets:,} sets, {engine.label}, memory", engine.peak_mib, "MiB", peer.peak_mib, budget,
                    f"floor: {peer.label}",
                )  # fmt: skip


def _span(periods: range) -> str:
    return f"{periods[0]} to {periods[-1]} step {periods.step}"
