"""Market event to accepted order through four processes with synced ledgers, beside a chain of bare redis-py.

Ours: the market data service, the strategy runner and the risk engine as they are started in production, and an
observer that takes accepted orders off the stream as the paper trader does. The floor hands bytes on, three hops.
Both chains stand all the time and work in turns of a fraction of a second, so that a busy machine is busy for both.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from redis import Redis

from benchmarks.hardware import fdatasync_us
from benchmarks.installation import environ, without_caps, write_config
from benchmarks.processes import Processes, Role, turn
from benchmarks.result import Budget, Figure, Result, verify
from benchmarks.timing import Spread, latencies_of, spread
from benchmarks.workload import Workload
from core.ledger import ledger

P50: Final = Budget("at most", 2.0, "ratio")
P99: Final = Budget("at most", 3.0, "ratio")
GAP_US: Final = 4_000  # between two events
_TURN: Final = 50  # events a turn
_MEMORY: Final = Path("/dev/shm")
_PEER: Final = {
    "md_source": "bare_source",
    "strategy_runner": "bare_forward",
    "risk_engine": "bare_forward",
    "order_sink": "bare_sink",
}


def run(work: Workload) -> Result:
    """Ledgers on the disk, which the budget is about; then in memory, to tell the disk's share."""
    turns = work.size(24, 8, 1)
    disk = _chains(work.folder / "chain", work.server_url, turns)
    figures = [
        Figure("event to accepted order p50", disk.ours.p50, "µs", disk.bare.p50, P50, disk.sync),
        Figure("event to accepted order p99", disk.ours.p99, "µs", disk.bare.p99, P99),
    ]
    if _MEMORY.is_dir() and not work.tiny:
        with tempfile.TemporaryDirectory(prefix="njord-bench-", dir=_MEMORY) as folder:
            memory = _chains(Path(folder) / "chain", work.server_url, turns)
        figures.append(Figure("the same, ledgers in memory, p50", memory.ours.p50, "µs", memory.bare.p50))
        figures.append(Figure("the same, ledgers in memory, p99", memory.ours.p99, "µs", memory.bare.p99))
    figures += [
        Figure(f"processor time of {name}", disk.cpu_us[name], "µs/event", disk.cpu_us[peer])
        for name, peer in _PEER.items()
    ]
    rate = 1_000_000 // GAP_US
    done = f"{turns * _TURN:,} events each way at {rate}/s or less, each one order, in order; ledgers verified"
    return Result("chain", figures, done)


class _Outcome(NamedTuple):
    """Both chains' latencies; processor time an event by process; what a sync of the disk took meanwhile."""

    ours: Spread
    bare: Spread
    cpu_us: dict[str, float]
    sync: str


def _chains(folder: Path, url: str, turns: int) -> _Outcome:
    """Turns of both chains, each event's way timed."""
    write_config(folder / "installation", "EveryTrade")
    with Redis.from_url(url) as client:
        client.flushall()  # new ledgers begin at 1, and so must the streams
    with Processes(folder, environ(folder, url) | without_caps()) as processes:
        ours = _our_chain(processes, url, folder)
        bare = _bare_chain(processes, url)
        for chain in (ours, bare):  # connections, caches, the first price
            turn(*chain, _TURN, GAP_US, strict=False)
        latencies: tuple[list[int], list[int]] = ([], [])
        syncs: list[float] = []
        cpu_at_start = processes.cpu_us()
        for _ in range(turns):
            for chain, taken in zip((ours, bare), latencies, strict=True):
                taken += latencies_of(*turn(*chain, _TURN, GAP_US))
            syncs.append(fdatasync_us(folder / "fdatasync", 5))
        cpu = {name: (taken - cpu_at_start[name]) / turns / _TURN for name, taken in processes.cpu_us().items()}
    for name in ("strategy_runner", "risk_engine"):
        report = ledger.verify(folder / "ledgers" / f"{name}.ndjson")
        verify(f"transactions in the ledger of {name}, at least", True, report.transactions >= turns * _TURN)
    shutil.rmtree(folder)
    cpu["bare_forward"] /= 2  # there are two of them
    sync = f"one fdatasync took {median(syncs):,.0f} µs meanwhile; two are on the way"
    return _Outcome(spread(latencies[0]), spread(latencies[1]), cpu, sync)


def _our_chain(processes: Processes, url: str, folder: Path) -> tuple[Role, Role]:
    sink = processes.role("order_sink", url)
    for name in ("risk_engine", "strategy_runner"):
        processes.daemon(name, "--config-root", str(folder / "installation"))
    return processes.role("md_source", url, str(folder)), sink


def _bare_chain(processes: Processes, url: str) -> tuple[Role, Role]:
    sink = processes.role("bare_sink", url, "bench.3")
    for number in (2, 1):
        processes.role("bare_forward", url, f"bench.{number}", f"bench.{number + 1}")
    return processes.role("bare_source", url, "bench.1"), sink
