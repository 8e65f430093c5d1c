"""The duration of a start after a day of trading: the ledgers of a day, folded again, by the real daemons.

A day is 50,000 intents of one symbol with their decisions, orders, updates and fills, an intent at every fourth trade,
made by the real components. The floor of a fold reads the same file and decodes its lines with msgspec; that of a
process is an interpreter that does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import msgspec
from redis import Redis

from apps.md_ingest.main import SPEC as MD_INGEST
from apps.md_ingest.resume import last_journaled
from apps.registry import BEHIND_THE_FEED
from benchmarks.installation import environ, without_caps, write_config
from benchmarks.processes import Processes
from benchmarks.result import Figure, Result, verify
from benchmarks.timing import alternating, settled
from benchmarks.workload import SYMBOL, Workload
from core.clock import NS_PER_DAY
from core.component import Durable
from core.config import Config, load_config
from core.contracts import Side, TradeEvent
from core.ledger import ledger
from core.ledger.snapshot import SnapshotFile
from core.market.synthetic import START_NS
from core.service.embedded import EmbeddedFleet
from core.service.spec import DaemonSpec, assemble, open_journals

TRADES_PER_INTENT: Final = 4  # of benchmarks.strategy.EveryFourthTrade
_MS: Final = 1_000.0


class Day(NamedTuple):
    """A day that was traded: its configuration, and what every daemon knew in the end."""

    config: Config
    snapshots: Mapping[str, Mapping[str, Any]]
    transactions: Mapping[str, int]


def run(work: Workload) -> Result:
    """Folds in this process, then real processes on a server that lost everything, and on one that kept it."""
    intents = work.size(50_000, 5_000, 100)
    variables = environ(work.folder, work.server_url) | without_caps()
    root = write_config(work.folder / "installation", "EveryFourthTrade")
    day = _trade(load_config(root, environ=variables), intents)
    ledgered = [spec for spec in BEHIND_THE_FEED if spec.ledgered]
    recorded = {spec.name: ledger.verify(_path(day.config, spec)) for spec in ledgered}
    verify("decisions and orders", 2 * intents, recorded["risk_engine"].events)
    open_orders = len(day.snapshots["paper_trader"]["orders"]["open"])
    verify("orders that did not fill by the end of the day, at most", True, open_orders <= 1)
    figures = [figure for spec in ledgered for figure in _folds(spec, day, work.size(2, 2, 1))]
    figures += [_resume(day.config, work.size(5, 3, 1))]
    figures += _ready(work, variables, root, day.config)
    for spec in ledgered:
        verify(f"the ledger of {spec.name} afterwards", recorded[spec.name], ledger.verify(_path(day.config, spec)))
    transactions = sum(report.transactions for report in recorded.values())
    done = f"{intents:,} intents, {transactions:,} transactions; every fold knows what the day's end knew"
    return Result("recovery", figures, done)


def _trade(config: Config, intents: int) -> Day:
    """Let the fleet trade a day, in this process."""
    hosts = [assemble(spec, config, durable=False) for spec in BEHIND_THE_FEED]
    fleet = EmbeddedFleet(assemble(MD_INGEST, config), hosts)
    fleet.recover()
    count = intents * TRADES_PER_INTENT
    with settled():
        for number in range(1, count + 1):
            ts = START_NS + number * (NS_PER_DAY - 1) // (count + 1)
            side: Side = "buy" if number % 2 else "sell"  # orders of both sides fill
            fleet.feed(TradeEvent(SYMBOL, 60_000.0 + number % 7, 0.01, side, ts, str(number), "bench", ts))
    snapshots = {host.name: host.component.snapshot() for host in hosts if isinstance(host.component, Durable)}
    transactions = {host.name: host.ledger.seq for host in hosts if host.ledger is not None}
    fleet.source.commit()
    for host in (fleet.source, *hosts):  # killed: an orderly end would leave a snapshot behind the last transaction
        host.abandon()
    return Day(config, snapshots, transactions)


def _folds(spec: DaemonSpec, day: Day, rounds: int) -> list[Figure]:
    """One daemon's recovery beside the bare reading of its ledger; from its snapshot, too, where there is one."""
    path = _path(day.config, spec)
    size = f"{path.stat().st_size / 2**20:,.0f} MiB"
    figures: list[Figure] = []
    snapshot = SnapshotFile(path).read(spec.name, 1)
    if snapshot is not None:
        tail = f"{day.transactions[spec.name] - snapshot.seq:,} transactions behind it"
        from_snapshot, bare = alternating(rounds, lambda: _recover(spec, day), lambda: _decode(path))
        figures.append(Figure(f"{spec.name} from its snapshot", from_snapshot * _MS, "ms", bare * _MS, note=tail))
    with _without_snapshots(day.config):
        full, bare = alternating(rounds, lambda: _recover(spec, day), lambda: _decode(path))
    figures.append(Figure(f"{spec.name} whole ledger", full * _MS, "ms", bare * _MS, note=f"{size}; floor: msgspec"))
    return figures


@contextmanager
def _without_snapshots(config: Config) -> Iterator[None]:
    """Put every snapshot aside, and back in place of what was written meanwhile."""
    snapshots = sorted(config.ledger_dir.glob("*.snapshot"))
    for path in snapshots:
        path.rename(path.with_suffix(".aside"))
    try:
        yield
    finally:
        for path in snapshots:
            path.with_suffix(".aside").rename(path)


def _recover(spec: DaemonSpec, day: Day) -> None:
    """The first work of a start."""
    host = assemble(spec, day.config, durable=False)
    host.recover()
    host.abandon()
    assert isinstance(host.component, Durable)
    verify(f"what {spec.name} knows", day.snapshots[spec.name], host.component.snapshot())


def _decode(path: Path) -> None:
    decode = msgspec.json.Decoder().decode
    with path.open("rb") as lines:
        for line in lines:
            decode(line)


def _resume(config: Config, rounds: int) -> Figure:
    """The place at which the market data daemon resumes: the last lines of its journals."""

    def read() -> None:
        journals = open_journals(config)
        last_journaled(journals, [SYMBOL])
        journals.abandon()

    (taken,) = alternating(rounds, read)
    return Figure("md_ingest reads where it was", taken * 1e6, "µs", note="the last lines of its journals")


def _ready(work: Workload, variables: Mapping[str, str], root: Path, config: Config) -> list[Figure]:
    """Seconds from exec to ready."""
    floor = median(_bare_start() for _ in range(work.size(5, 3, 1))) * _MS
    specs = [spec for spec in BEHIND_THE_FEED if not work.tiny or spec.name == "risk_engine"]
    figures: list[Figure] = []
    with Redis.from_url(work.server_url) as client:
        client.flushall()

    def start(condition: str) -> None:
        for spec in specs:
            with Processes(work.folder / "processes", variables) as processes:
                taken = processes.daemon(spec.name, "--config-root", str(root)) * _MS
            figures.append(Figure(f"{spec.name} ready, {condition}", taken, "ms", floor))

    with _without_snapshots(config):
        start("no snapshot, Redis emptied")
    start("Redis kept")
    return figures


def _bare_start() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - started


def _path(config: Config, spec: DaemonSpec) -> Path:
    return config.ledger_dir / f"{spec.name}.ndjson"
