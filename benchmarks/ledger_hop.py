"""One hop of the ledger: an intent committed with fdatasync, relayed, and handed to the component of another daemon.

Beside it the transport alone, and the same bytes by bare XADD and XREAD and by bare PUBLISH. Each lane is two
processes; all stand all the time and work in turns. First at a pace at which nothing waits, then as fast as they go.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from redis import Redis

from benchmarks.hardware import fdatasync_us
from benchmarks.ledger_roles import CONSUMER, PRODUCER
from benchmarks.processes import Processes, Role, turn
from benchmarks.result import Figure, Result, verify
from benchmarks.timing import NS_PER_S, Spread, latencies_of, spread
from benchmarks.workload import Workload
from core.ledger import ledger

GAP_US: Final = 4_000  # between two intents
_TURN: Final = 50  # intents a turn
_ROLES: Final = "benchmarks.ledger_roles"
_MEMORY: Final = Path("/dev/shm")
_LANES: Final = {
    "ledger": "the ledger hop",
    "memory": "the same, ledgers in memory",
    "bus": "transport alone",
    "publish": "bare PUBLISH",
}
_FLOOR: Final = "stream"

Lanes = Mapping[str, tuple[Role, Role]]


def run(work: Workload) -> Result:
    """Latency, then throughput; every intent arrives once and in order, the ledgers hold."""
    turns, burst = work.size(24, 8, 1), work.size(20_000, 5_000, 200)
    with Redis.from_url(work.server_url) as client:
        client.flushall()  # new ledgers begin at 1, and so must the streams
    with _in_memory(work) as memory, Processes(work.folder, {}) as processes:
        lanes = {name: _lane(processes, name, work, memory) for name in (*_LANES, _FLOOR)}
        for source, sink in lanes.values():  # connections, caches
            turn(source, sink, _TURN, GAP_US)
        spreads, sync = _latencies(lanes, turns, work)
        rates = _rates(lanes, burst, work.size(3, 2, 1))
    sent = _TURN * (1 + turns) + burst * work.size(3, 2, 1)
    for name in (PRODUCER, CONSUMER):
        report = ledger.verify(work.folder / "ledgers" / f"{name}.ndjson")
        verify(f"transactions in the ledger of {name}", sent, report.transactions)
    floor = spreads[_FLOOR]
    figures = []
    for name, label in _LANES.items():
        note = sync if name == "ledger" else "floor: bare XADD and XREAD" if name == "bus" else ""
        figures += [
            Figure(f"{label} p50", spreads[name].p50, "µs", floor.p50, note=note),
            Figure(f"{label} p99", spreads[name].p99, "µs", floor.p99),
        ]
    figures += [
        Figure(f"{label}, as fast as it goes", rates[name], "intents/s", rates[_FLOOR])
        for name, label in _LANES.items()
    ]
    done = f"{sent:,} intents each way, {_TURN * turns:,} of them timed at {1_000_000 // GAP_US}/s or less"
    return Result("ledger", figures, done)


@contextmanager
def _in_memory(work: Workload) -> Iterator[Path]:
    """A folder for ledgers that no disk is waited for, where the machine has one."""
    directory = _MEMORY if _MEMORY.is_dir() else work.folder
    with tempfile.TemporaryDirectory(prefix="njord-bench-", dir=directory) as folder:
        yield Path(folder)


def _lane(processes: Processes, name: str, work: Workload, memory: Path) -> tuple[Role, Role]:
    folders = {"ledger": work.folder, "memory": memory}
    options = (str(folders[name]), f"bench-{name}") if name in folders else ()
    role = "ledger" if name in folders else name
    sink = processes.role(f"{role}_sink", work.server_url, *options, module=_ROLES)
    return processes.role(f"{role}_source", work.server_url, *options, module=_ROLES), sink


def _latencies(lanes: Lanes, turns: int, work: Workload) -> tuple[dict[str, Spread], str]:
    taken: dict[str, list[int]] = {name: [] for name in lanes}
    syncs: list[float] = []
    for _ in range(turns):
        for name, lane in lanes.items():
            taken[name] += latencies_of(*turn(*lane, _TURN, GAP_US))
        syncs.append(fdatasync_us(work.folder / "fdatasync", 5))
    note = f"one fdatasync took {median(syncs):,.0f} µs meanwhile; one is on the way"
    return {name: spread(sample) for name, sample in taken.items()}, note


def _rates(lanes: Lanes, burst: int, rounds: int) -> dict[str, float]:
    """Intents a second, from the first one sent to the last one taken."""
    rates: dict[str, list[float]] = {name: [] for name in lanes}
    for _ in range(rounds):
        for name, lane in lanes.items():
            sent, came = turn(*lane, burst, 0)
            rates[name].append(burst * NS_PER_S / (came[-1] - sent[0]))
    return {name: median(samples) for name, samples in rates.items()}
