"""One backtest, SMA 10/50 over a month of minute bars, in our engines, in four others, and in bare loops.

Every engine is a process of its own that must come to the same round trips and equity before it is timed; they take
turns. What remains between ours and one Python call per bar is taken apart by runs of different length and periods.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from backtest.data.series import BarSeries, from_file
from benchmarks.peers.environments import PEERS, PeerMissingError, python_of
from benchmarks.peers.processes import EngineProcess
from benchmarks.peers.protocol import COLUMNS, Bars
from benchmarks.processes import ProcessError
from benchmarks.result import Budget, Figure, Result, VerificationError, verify
from benchmarks.workload import Workload, recorded

MONTH: Final = "btcusd_perp_1m_202201.csv.gz"
SYMBOL: Final = "BTC/USD"
TRIPS: Final = 617
EQUITY: Final = {"close": 944_078.031, "open": 944_052.003}
"""Of the recorded month: fast 10, slow 50, long only, acts on crosses; filled at the close, at the next open."""
TOLERANCE: Final = 5e-4  # half of the last place; others add up in floats
EVENT: Final = Budget("at least", 5, "ratio")
KERNEL: Final = Budget("at least", 0.5, "ratio")
OURS: Final = {
    "event engine, any Python": "event",
    "event engine, any Python, risk engine": "risk",
    "event engine, kernel strategy": "kernel",
    "compiled engine": "compiled",
}
FLOORS: Final = {
    "bare loop, one Python method a bar": "bare",
    "bare loop, an empty method a bar": "call",
    "bare loop, our strategy object alone": "strategy",
    "bare numba loop around the kernel's step": "step",
    "bare numba loop": "numba",
    "bare numba loop with fills and equity": "numba_kept",
}
EVENT_ENGINES: Final = ("backtesting", "backtrader", "nautilus_trader")
PERIODS: Final = ((10, 50), (50, 200), (200, 1_000))
_US: Final = 1e6
_NS: Final = 1e9
_MS: Final = 1e3
_SHORT_S: Final = 0.02  # runs shorter than this are repeated within a turn
_MANY: Final = 20
_SHOWN: Final = 300  # characters of why a peer is absent


@dataclass
class Timed:
    """An engine under measurement."""

    label: str
    process: EngineProcess
    filled: str = ""
    best: dict[str, float] = field(default_factory=dict)

    def verify(self, trips: int, equity: Mapping[str, float]) -> None:
        """Both ways to fill, as far as the engine knows both. Raises VerificationError for any other outcome."""
        fills = []
        for timing in equity:
            answer = self.process.ask(timing=timing, repeats=1)
            near = [name for name, final in equity.items() if abs(answer["final"] - final) < TOLERANCE]
            if answer["trips"] != trips or not near:
                raise VerificationError(
                    f"{self.label}, filled at the {timing}: expected {trips} round trips and an equity of "
                    f"{' or '.join(f'{final:,.3f}' for final in equity.values())}, "
                    f"got {answer['trips']} and {answer['final']:,.3f}"
                )
            fills += near
        self.filled = f"fills at the {' or '.join(sorted(set(fills)))}"

    def turn(self) -> None:
        """One more time, or many where it is short; the best counts."""
        repeats = _MANY if self.best.get("wall_s", self.process.ready["wall_s"]) < _SHORT_S else 1
        answer = self.process.ask(repeats=repeats)
        for name in ("wall_s", "cpu_s"):
            self.best[name] = min(self.best.get(name, answer[name]), answer[name])
        self.best["peak_mib"] = self.process.peak_mib

    def details(self) -> dict[str, float]:
        """Everything measured; the first run beyond the best one is what was compiled or loaded in it."""
        ready = self.process.ready
        first = max(ready["wall_s"] - self.best["wall_s"], 0.0)
        return {**self.best, "import_s": ready["import_s"], "prepare_s": ready["prepare_s"], "first_extra_s": first}

    def note(self) -> str:
        """For people."""
        figures, version = self.details(), self.process.ready["version"]
        parts = [
            version,
            f"wall {figures['wall_s'] * _MS:,.3g} ms, CPU {figures['cpu_s'] * _MS:,.3g} ms",
            f"start {figures['import_s']:.2f} + {figures['first_extra_s']:.2f} s",
            f"{figures['peak_mib']:,.0f} MiB",
            self.filled,
        ]
        return "; ".join(part for part in parts if part)


def run(work: Workload) -> Result:
    """Verify each, then let them take turns."""
    bars, is_month = month(work)
    path = work.folder / "bars.npz"
    bars.save(path)
    with ExitStack() as open_until_end:
        folder = work.folder
        timed, absent = {}, []
        for label, engine in (FLOORS | OURS).items():
            process = open_until_end.enter_context(own(path, folder, engine))
            timed[engine] = Timed(label, process)
        expected = timed["bare"].process.ready
        if is_month:
            verify("round trips", TRIPS, expected["trips"])
        equity = {t: timed["event"].process.ask(timing=t, repeats=1)["final"] for t in EQUITY}
        verify("equity", EQUITY if is_month else equity, equity)
        for candidate in timed.values():
            if "final" in candidate.process.ready:
                candidate.verify(expected["trips"], equity)
        for peer in () if work.tiny else PEERS:
            try:
                timed_peer = Timed(peer, open_until_end.enter_context(other(peer, path, folder)))
                timed_peer.verify(expected["trips"], equity)
                timed[peer] = timed_peer
            except (PeerMissingError, ProcessError, VerificationError) as reason:
                absent.append(f"{peer}: {' '.join(str(reason).split())[-_SHOWN:]}")
        cold = () if work.tiny else (_cold(path, folder),)
        for _ in range(work.size(9, 3, 1)):
            for candidate in timed.values():
                candidate.turn()
        figures = [
            *_figures(timed, len(bars)),
            *_breakdown(timed, len(bars), work),
            *_compiled(timed, len(bars), work),
            *cold,
        ]
    done = f"{len(bars):,} bars, {expected['trips']} round trips, equity {equity['close']:,.3f} filled at the close, "
    done += f"{equity['open']:,.3f} at the next open; data prepared before, best of all turns"
    return Result("backtest", figures, "; ".join([done, *(f"not measured: {reason}" for reason in absent)]))


def month(work: Workload) -> tuple[Bars, bool]:
    """The recorded month, or a walk where it is not there or little is wanted; and whether it is the month."""
    source = recorded(MONTH)
    if source is not None:
        series = from_file(source, SYMBOL, "1m")
        if work.tiny:
            series = series.rows(0, 4_000)
        return bars_of(series), not work.tiny
    return walk(4_000 if work.tiny else 45_031), False


def bars_of(series: BarSeries) -> Bars:
    """A series as plain columns."""
    return Bars(*(getattr(series, name) for name in COLUMNS))


def walk(count: int, seed: int = 7) -> Bars:
    """A random walk in steps of 0.5, one bar a minute."""
    steps = np.random.default_rng(seed).integers(-40, 41, size=(2, count)) * 0.5
    closes = 40_000.0 + np.cumsum(steps[0])
    opens = np.concatenate(([40_000.0], closes[:-1]))
    edge = np.abs(steps[1])
    times = 1_640_995_200_000_000_000 + np.arange(count + 1, dtype=np.int64) * 60_000_000_000
    high, low = np.maximum(opens, closes) + edge, np.minimum(opens, closes) - edge
    return Bars(times[:-1], times[1:], opens, high, low, closes, np.full(count, 1_000.0))


def job_of(engine: str, **more: Any) -> dict[str, Any]:
    """The run that everybody does."""
    return {"engine": engine, "fast": 10, "slow": 50, "timing": "close", "repeats": 1, **more}


def own(
    bars: Path, folder: Path, engine: str, module: str = "njord", *, watch: bool = False, **more: Any
) -> EngineProcess:
    """A process of one of our engines. Raises ProcessError."""
    job = job_of(engine, **more)
    return EngineProcess(sys.executable, f"benchmarks.peers.{module}", bars, job, folder, watch=watch)


def other(peer: str, bars: Path, folder: Path, *, watch: bool = False, **more: Any) -> EngineProcess:
    """A process of a peer. Raises PeerMissingError, ProcessError."""
    return EngineProcess(python_of(peer), f"benchmarks.peers.{peer}", bars, job_of(peer, **more), folder, watch=watch)


def _figures(timed: Mapping[str, Timed], bars: int) -> Iterator[Figure]:
    peers = [timed[name] for name in EVENT_ENGINES if name in timed]
    fastest = min(peers, key=lambda candidate: candidate.best["wall_s"], default=None)
    for engine in ("event", "risk", "kernel"):
        yield _figure(timed[engine], bars, fastest, EVENT if fastest and engine == "event" else None)
    yield _figure(timed["compiled"], bars, timed["step"], KERNEL)
    yield _figure(timed["compiled"], bars, timed["numba_kept"])
    yield _figure(timed["compiled"], bars, timed["numba"])
    yield _figure(timed["event"], bars, timed["bare"])
    for name in (*FLOORS.values(), *PEERS):
        if name in timed:
            yield _figure(timed[name], bars)


def _figure(candidate: Timed, bars: int, floor: Timed | None = None, budget: Budget | None = None) -> Figure:
    rate, details, note = bars / candidate.best["wall_s"], candidate.details(), candidate.note()
    if floor is None:
        return Figure(candidate.label, rate, "bars/s", note=note, details=details)
    ratio = floor.best["cpu_s"] / candidate.best["cpu_s"]
    note = f"floor: {floor.label}; by processor time {ratio:.2f}; {note}"
    details["cpu_ratio"] = ratio
    return Figure(candidate.label, rate, "bars/s", bars / floor.best["wall_s"], budget, note, details)


def _breakdown(timed: Mapping[str, Timed], bars: int, work: Workload) -> Iterator[Figure]:
    """Processor time of the event engine, split by least squares over runs that differ in bars and in orders."""
    bare = timed["bare"].best["cpu_s"] / bars * _NS
    alone = timed["strategy"].best["cpu_s"] / bars * _NS
    empty = timed["call"].best["cpu_s"] / bars * _NS
    for engine in ("event", "risk"):
        candidate = timed[engine]
        rows, taken = [], []
        for fast, slow in PERIODS:
            for part in (bars, bars // 2):
                answer = candidate.process.ask(fast=fast, slow=slow, bars=part, repeats=work.size(7, 3, 1))
                rows.append((1.0, part, answer["orders"]))
                taken.append(answer["cpu_s"])
        fixed, per_bar, per_order = np.linalg.lstsq(np.array(rows), np.array(taken), rcond=None)[0].tolist()
        off = max(abs(np.array(rows) @ (fixed, per_bar, per_order) - taken)) * _MS
        label = f"{candidate.label}, processor time"
        orders = ", ".join(f"{row[2]:,.0f}" for row in rows[::2])
        yield Figure(
            f"{label} per bar", per_bar * _NS, "ns", bare, None,
            f"floor: the bare method; our strategy object alone {alone:,.0f}, an empty method {empty:,.0f}",
        )  # fmt: skip
        yield Figure(f"{label} per order", per_order * _US, "µs", note=f"{orders} orders with {_named(PERIODS)}")
        yield Figure(f"{label} per run", fixed * _US, "µs", note=f"the fit is off by {off:.1f} ms at most")


def _compiled(timed: Mapping[str, Timed], bars: int, work: Workload) -> Iterator[Figure]:
    """The same of the compiled engine and the numba loops, by runs over all bars and over half of them."""
    split = {}
    for engine in ("compiled", "step", "numba", "numba_kept"):
        ask, repeats = timed[engine].process.ask, work.size(200, 50, 5)
        full, half = (ask(bars=part, repeats=repeats)["cpu_s"] for part in (bars, bars // 2))
        per_bar = (full - half) / (bars - bars // 2)
        split[engine] = per_bar * _NS, (full - per_bar * bars) * _US
    (per_bar, fixed), (step, _), (bare, _), (kept, _) = split.values()
    label = timed["compiled"].label
    note = f"floor: the step alone; a bare numba loop {bare:.1f}, with fills and equity {kept:.1f}"
    details = {"per_bar_ns": per_bar, "step_per_bar_ns": step, "bare_per_bar_ns": bare, "kept_per_bar_ns": kept}
    yield Figure(f"{label}, processor time per bar", per_bar, "ns", step, None, note, details)
    yield Figure(f"{label}, processor time per run", fixed, "µs", None, None, "however few the bars")


def _cold(bars: Path, folder: Path) -> Figure:
    """The compiled engine on a machine that has never compiled it."""
    job, cache = job_of("compiled"), str(folder / "numba")
    module = "benchmarks.peers.njord"
    with EngineProcess(sys.executable, module, bars, job, folder, environ={"NUMBA_CACHE_DIR": cache}) as process:
        ready = process.ready
    details = {"import_s": ready["import_s"], "first_s": ready["wall_s"]}
    note = "import and first run with nothing compiled before"
    return Figure("compiled engine, first start", sum(details.values()) * _MS, "ms", note=note, details=details)


def _named(periods: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(f"{fast}/{slow}" for fast, slow in periods)
