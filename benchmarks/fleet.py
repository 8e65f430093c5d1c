"""The embedded fleet on a synthetic market, with ledgers synced to disk and without; its own feed is not timed.

Every run writes the same bytes, or the figures mean nothing. There is no floor: nobody else does the same work.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from statistics import median
from typing import Final

from apps.fleet.session import Session, fingerprint
from apps.md_ingest.feeds import SyntheticFeed
from apps.md_ingest.replay import MAX_SPEED, PacedFeed
from apps.md_ingest.source import MarketSource
from benchmarks.result import Figure, Result, verify
from benchmarks.timing import settled
from benchmarks.workload import SYMBOL, Materialised, Workload, bench_config
from core.contracts import Contract
from core.ledger import verify as verify_ledger
from core.market.ingest import MarketDataIngest

SEED: Final = 42


def run(work: Workload) -> Result:
    """Runs with and without durable ledgers, taking turns."""
    minutes = work.size(120, 30, 5)
    config = bench_config(work.folder)
    feed = SyntheticFeed(SEED, config.instruments_table(), (SYMBOL,), minutes=minutes)
    started = time.perf_counter()
    events = list(feed.events())
    generated = time.perf_counter() - started
    taken: dict[bool, list[float]] = {True: [], False: []}
    prints: set[str] = set()
    transactions = 0
    for number in range(work.size(3, 2, 1)):
        for durable in (True, False):
            folder = work.folder / f"fleet-{number}-{durable}"
            seconds, session = _once(folder, events, durable=durable)
            taken[durable].append(seconds)
            prints.add(fingerprint(folder))
            verify("raw events taken", len(events), session.events)
            messages = session.fleet.messages
            transactions = sum(verify_ledger(path).transactions for path in (folder / "ledgers").glob("*.ndjson"))
            shutil.rmtree(folder)
    verify("different outcomes of the same input", 1, len(prints))
    durable_s, plain_s = median(taken[True]), median(taken[False])
    figures = [
        Figure("ledgers synced", len(events) / durable_s, "events/s", note=f"{messages:,} messages among the daemons"),
        Figure("ledgers flushed", len(events) / plain_s, "events/s", note="the same without waiting for the disk"),
        Figure("the feed alone", len(events) / generated, "events/s", note="synthetic market, not part of the above"),
    ]
    done = f"{len(events):,} events, {transactions:,} transactions, fingerprint {prints.pop()[:12]} each time"
    return Result("fleet", figures, done)


def _once(folder: Path, events: list[Contract], *, durable: bool) -> tuple[float, Session]:
    config = bench_config(folder)
    ingest = MarketDataIngest(config.instruments_table(), (SYMBOL,), backfill=False)
    feed = Materialised(events, (SYMBOL,))
    session = Session(config, MarketSource(PacedFeed(feed, MAX_SPEED), ingest, feed), durable=durable)
    with settled():
        started = time.perf_counter()
        asyncio.run(session.run())
        return time.perf_counter() - started, session
