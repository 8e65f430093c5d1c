"""Rehearse the fleet: the real daemons, a virtual day, seeded faults; then everything must add up.

``python -m backtest.simulation.rehearsal --seed 17`` runs one seed, ``--seeds 200`` many. The same seed does the same
to the last byte; one that fails is printed with the command that repeats it.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from backtest.simulation.auditor import Auditor, BrokenError
from backtest.simulation.disk import Machine
from backtest.simulation.fleet import Fleet
from backtest.simulation.installation import installation
from backtest.simulation.invariants import check_journals
from backtest.simulation.loop import VirtualLoop
from backtest.simulation.network import Network

SETTLE_S = 60.0


@dataclass(frozen=True)
class Report:
    """What came of one seed."""

    seed: int
    minutes: float
    faults: tuple[str, ...]
    virtual_s: float
    wall_s: float
    steps: int
    transactions: int
    counts: dict[str, int]
    injected: dict[str, int]
    crashes: int
    settled_s: float
    violations: list[str]
    recent: list[str]
    sha256: str


def rehearse(seed: int, *, minutes: float = 1.0, faults: Sequence[str] = (), keep: Path | None = None) -> Report:
    began = time.perf_counter()
    folder = keep or Path(tempfile.mkdtemp(prefix="njord-rehearsal-", dir=_fast_folder()))
    try:
        run = _Run(seed, minutes, tuple(faults), folder)
        return run.report(time.perf_counter() - began)
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)


def _fast_folder() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class _Run:
    def __init__(self, seed, minutes, faults, folder):
        self.seed, self.minutes, self.faults, self.folder = seed, minutes, faults, folder
        self.loop = VirtualLoop()
        network = Network(Random(f"{seed}/network"))
        machine = Machine(Random(f"{seed}/disk"))
        config = installation(folder)
        self.fleet = Fleet(self.loop, config, seed, network, machine, minutes * 60)
        self.auditor = Auditor(config.ledger_dir, machine, self.fleet.record)
        self.fleet.server.on_added = self.auditor.added
        self.loop.after_step = self.auditor.look
        self.settled_s = 0.0
        self.violations = []
        logging.getLogger("njord").setLevel(logging.CRITICAL)
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._main())
        except BrokenError:
            pass
        self.violations += self.auditor.rules.found + self.fleet.record.unexpected

    async def _main(self):
        self.fleet.start()
        await asyncio.sleep(self.minutes * 60)
        await asyncio.sleep(20)
        await self.fleet.stop()
        self.loop.after_step = None
        self.auditor.look()
        self.auditor.rules.finish()
        check_journals(self.folder / "journals", self.auditor.rules, self.auditor.ledgers)

    def report(self, wall_s):
        return Report(self.seed, self.minutes, self.faults, self.loop.time(), wall_s, self.loop.steps, self.auditor.transactions,
            self.auditor.rules.counts, dict(self.fleet.record.faults), self.fleet.record.crashes, self.settled_s, self.violations, list(self.fleet.record.recent), fingerprint(self.folder))


def fingerprint(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*.ndjson*")):
        whole.update(f"{path.relative_to(folder)}\0".encode())
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()

if __name__ == "__main__":
    import sys
    r = rehearse(int(sys.argv[1]), minutes=float(sys.argv[2]))
    print(r)
