"""The mutation run: changes of the code that no test notices, found by cosmic-ray in a copy of the tree.

``make mutants`` mutates each of ``TARGETS`` and runs the fast tests of that file against each mutant. The tool lives in
an environment of its own below ``var/mutants``: nothing else needs it. A survivor is a rule without a test, or a change
that makes no difference; people tell which.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

TOOL: Final = "cosmic-ray==8.7.0"
HOME: Final = Path("var/mutants")
TARGETS: Final = {
    "backtest/fill_simulator.py": ("tests/backtest/test_fill_simulator.py",),
    "backtest/equity_tracker.py": ("tests/backtest/test_equity_tracker.py",),
    "execution/matching.py": ("tests/execution/test_matching_core.py", "tests/execution/test_fill_rules.py"),
    "execution/fill_models.py": ("tests/execution/test_fill_models.py", "tests/execution/test_fill_rules.py"),
    "core/position_ledger.py": ("tests/core/test_position_ledger.py", "tests/core/test_position_state_machine.py"),
    "core/market/bars.py": ("tests/core/market/test_ohlcv_aggregator.py", "tests/core/market/test_multi_timeframe.py"),
    "core/ledger/ledger.py": ("tests/core/ledger/test_chain.py", "tests/core/ledger/test_tail.py"),
    "risk": ("tests/risk",),
}
"""What is mutated, and the tests that have to notice."""
_TEST_S: Final = 60.0  # after which a mutant counts as killed
_TOML: Final = """
[cosmic-ray]
module-path = "{source}"
timeout = {timeout}
excluded-modules = []
test-command = "{python} -m pytest -n 0 -x -q -p no:cacheprovider {tests}"

[cosmic-ray.distributor]
name = "local"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every mutant that was tried is killed, 1 when some survived, 2 for an unknown source."""
    options = _parser().parse_args(arguments)
    sources = options.sources or list(TARGETS)
    if unknown := sorted(set(sources) - TARGETS.keys()):
        print(f"expected sources out of {', '.join(TARGETS)}, got {', '.join(unknown)}", file=sys.stderr)
        return 2
    tool, deadline = _tool(), time.monotonic() + options.minutes * 60
    total_tried = total_survived = 0
    with TemporaryDirectory(prefix="njord-mutants-") as folder:
        tree = Path(folder) / "tree"
        _copy_tree(tree)
        for remaining, source in zip(range(len(sources), 0, -1), sources, strict=True):
            session = _init(tool, tree, source, options.sample, options.seed)
            _execute(tool, tree, (deadline - time.monotonic()) / remaining)
            tried, survivors = _outcome(session)
            total_tried, total_survived = total_tried + tried, total_survived + len(survivors)
            print(f"{source}: {tried} mutants tried, {tried - len(survivors)} killed", flush=True)
            for survivor in survivors:
                print(f"  survived: {survivor}", flush=True)
            _copy_tree(tree)  # a run that is cut short leaves its mutant behind
    print(f"total: {total_tried} tried, {total_tried - total_survived} killed, {total_survived} survived")
    return 1 if total_survived else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.mutants", description=__doc__)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="mutants per source, at random; 0 is all")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--minutes", type=float, default=20.0, help="after which the rest is left out")
    return parser


def _tool() -> Path:
    """The folder of the tool's commands, installed on first use."""
    home = HOME / "venv"
    if not (home / "bin" / "cosmic-ray").exists():
        venv.create(home, with_pip=True)
        subprocess.run([home / "bin" / "pip", "install", "-q", TOOL], check=True)
    return (home / "bin").absolute()


def _copy_tree(tree: Path) -> None:
    """The tracked files as they are now."""
    names = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.splitlines()
    for name in names:
        if Path(name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, tree / name)


def _init(tool: Path, tree: Path, source: str, sample: int, seed: int) -> Path:
    """Write the session of a source: its mutants, less those of annotations, or a sample of them."""
    text = _TOML.format(source=source, timeout=_TEST_S, python=sys.executable, tests=" ".join(TARGETS[source]))
    (tree / "mutants.toml").write_text(text)
    session = tree / "mutants.sqlite"
    session.unlink(missing_ok=True)
    subprocess.run([tool / "cosmic-ray", "init", "mutants.toml", "mutants.sqlite"], cwd=tree, check=True)
    with sqlite3.connect(session) as database:
        rows = database.execute("select job_id, operator_name from mutation_specs order by rowid").fetchall()
        jobs = [job for job, operator in rows if "BitOr" not in operator]
        chosen_jobs = set(random.Random(seed).sample(jobs, min(sample, len(jobs))) if sample else jobs)
        dropped = [(job,) for job, _ in rows if job not in chosen_jobs]
        for table in ("mutation_specs", "work_items"):
            database.executemany(f"delete from {table} where job_id = ?", dropped)
    return session


def _execute(tool: Path, tree: Path, limit_s: float) -> None:
    """Try the mutants one after the other, as long as the limit allows. The tests must pass without a mutant."""
    subprocess.run([tool / "cosmic-ray", "baseline", "mutants.toml"], cwd=tree, check=True)
    command = [str(tool / "cosmic-ray"), "exec", "mutants.toml", "mutants.sqlite"]
    with subprocess.Popen(command, cwd=tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(max(limit_s, 0.0))
        except subprocess.TimeoutExpired:
            process.terminate()


def _outcome(session: Path) -> tuple[int, list[str]]:
    """How many mutants were tried, and the place and kind of each that survived."""
    query = """
        select r.test_outcome, s.module_path, s.start_pos_row, s.start_pos_col, s.operator_name, s.occurrence
        from work_results r join mutation_specs s on r.job_id = s.job_id where r.worker_outcome = 'NORMAL'
        order by s.module_path, s.start_pos_row
    """
    with sqlite3.connect(session) as database:
        rows = database.execute(query).fetchall()
    survivors = [
        f"{path}:{row}:{column} {operator.removeprefix('core/')} {occurrence}"
        for outcome, path, row, column, operator, occurrence in rows
        if outcome == "SURVIVED"
    ]
    return len(rows), survivors


if __name__ == "__main__":
    from core.console import adapt_console

    adapt_console()
    sys.exit(main())
