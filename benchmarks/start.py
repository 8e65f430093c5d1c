"""The time of a daemon from exec to ready, and of every command to its ``--help``; the imports of a slow one.

The floor is an interpreter that does nothing.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from redis import Redis

from benchmarks.installation import environ
from benchmarks.processes import Processes
from benchmarks.result import Budget, Figure, Result, verify
from benchmarks.workload import ROOT, Workload

HELP_MS: Final = Budget("at most", 300)
READY_MS: Final = Budget("at most", 1_000)
BEHIND: Final = ("ohlcv_aggregator", "strategy_runner", "risk_engine", "paper_trader")
COMMANDS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("njord-ctl", ("-c", "import sys; from controller.cli import main; sys.exit(main(sys.argv[1:]))")),
    *((f"apps.{name}", ("-m", f"apps.{name}")) for name in ("fleet", "md_ingest", *BEHIND)),
)
_SHOWN: Final = 5  # packages named in a breakdown
_MS: Final = 1_000.0


def run(work: Workload) -> Result:
    """Medians; every command's help is looked at, every daemon says itself that it is ready."""
    rounds = work.size(5, 3, 1)
    floor = median(_seconds(("-c", "pass")) for _ in range(rounds)) * _MS
    commands = COMMANDS[:2] if work.tiny else COMMANDS
    figures = [_help(name, words, rounds, floor) for name, words in commands]
    daemons = ("risk_engine",) if work.tiny else ("md_ingest", *BEHIND)
    figures += [_ready(work, name, work.size(3, 2, 1), floor) for name in daemons]
    return Result("start", figures, f"{len(commands)} commands, {len(daemons)} daemons, median of {rounds}")


def _help(name: str, words: Sequence[str], rounds: int, floor: float) -> Figure:
    taken = median(_seconds((*words, "--help"), says="--help") for _ in range(rounds)) * _MS
    note = _breakdown(words) if not HELP_MS.holds(taken) else ""
    return Figure(f"{name} --help", taken, "ms", floor, HELP_MS, note)


def _ready(work: Workload, name: str, rounds: int, floor: float) -> Figure:
    options = ("--feed", "synthetic:42:1", "--speed", "1x") if name == "md_ingest" else ()
    taken: list[float] = []
    for number in range(rounds):
        with Redis.from_url(work.server_url) as client:
            client.flushall()  # new ledgers begin at 1, and so must the streams
        folder = work.folder / f"start-{number}"
        with Processes(folder, environ(folder, work.server_url)) as processes:
            taken.append(processes.daemon(name, "--config-root", str(ROOT), *options))
        shutil.rmtree(folder)
    return Figure(f"{name} ready", median(taken) * _MS, "ms", floor, READY_MS)


def _seconds(words: Sequence[str], says: str = "") -> float:
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    taken = time.perf_counter() - started
    verify(f"exit status of {' '.join(words)}", 0, done.returncode)
    verify(f"{' '.join(words)} says {says!r}", True, says in done.stdout)
    return taken


def _breakdown(words: Sequence[str]) -> str:
    """The packages whose imports take longest, their own time only."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    own: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if len(fields) == 3 and fields[0].strip().isdigit():
            own[fields[2].strip().partition(".")[0]] += int(fields[0])
    total = sum(own.values())
    parts = ", ".join(f"{name} {taken / total:.0%}" for name, taken in own.most_common(_SHOWN))
    return f"imports {total / _MS:,.0f} ms: {parts}"
