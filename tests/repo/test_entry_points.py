"""Every command line survives a terminal without UTF-8: the console is adapted before its first word."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import patience

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("apps", "backtest", "benchmarks", "controller", "scripts")
# Run by a parent that reads their standard output as JSON or numbers; no person sees it.
WORKERS = ("benchmarks/peers/", "benchmarks/roles.py", "benchmarks/ledger_roles.py")
ENCODINGS = ("ascii", "latin-1", "cp1252")


def entry_points() -> list[Path]:
    """The modules that are run with ``python -m``."""
    modules = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    return [
        path
        for path in modules
        if (path.name == "__main__.py" or has_main_guard(path))
        and not path.relative_to(ROOT).as_posix().startswith(WORKERS)
    ]


def has_main_guard(path: Path) -> bool:
    """Whether a module asks at its top level if it is the one that runs."""
    tests = [ast.unparse(node.test) for node in ast.parse(path.read_text()).body if isinstance(node, ast.If)]
    return "__name__ == '__main__'" in tests


@pytest.mark.parametrize("path", entry_points(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_entry_point_adapts_the_console(path: Path) -> None:
    if path == ROOT / "controller" / "__main__.py":  # the console script enters behind it
        path = ROOT / "controller" / "cli.py"
    calls = [
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert "adapt_console" in calls


def run(encoding: str, *command: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run([sys.executable, *command], cwd=cwd, env=environ, capture_output=True, timeout=patience(120))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.full
def test_a_backtest_prints_its_summary(tmp_path: Path, encoding: str) -> None:
    rows = [f"{1_704_067_200 + 60 * n},{p},{p},{p},{p},1" for n, p in enumerate([100 + n % 7 for n in range(60)])]
    (tmp_path / "bars.csv").write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
    arguments = ("--data", "bars.csv", "--symbol", "X/USDT", "--fill", "next_open", "--no-risk", "--out", "out")
    sma = ("--strategy", "sma_cross_v1", "--param", "fast=3", "--param", "slow=8", "--param", "qty=1")

    end = run(encoding, "-m", "backtest.runner", *arguments, *sma, "--report", cwd=tmp_path)

    assert end.returncode == 0, end.stderr.decode(encoding)
    assert "->" in end.stdout.decode(encoding)
    assert list((tmp_path / "out").glob("*.html"))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_fleet_and_the_commands_print_their_tables(tmp_path: Path, encoding: str) -> None:
    fleet = run(encoding, "-m", "apps.fleet", "--config-root", str(ROOT), "--help", cwd=tmp_path)
    topics = run(encoding, "-m", "controller", "topics", cwd=tmp_path)
    missing = run(encoding, "-m", "controller", "diff", "→", "ž", cwd=tmp_path)

    assert (fleet.returncode, topics.returncode, missing.returncode) == (0, 0, 2)
    for end in (fleet, topics, missing):
        assert b"Traceback" not in end.stderr
        end.stdout.decode(encoding)


def test_json_keeps_its_meaning_on_a_terminal_without_utf8(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.yaml").write_text("app: {env: '→ 币 \U0001f511'}", encoding="utf-8")

    end = run("ascii", "-m", "controller", "config", "check", "--config-root", ".", "--json", cwd=tmp_path)

    (error,) = json.loads(end.stdout)["errors"]
    assert "got '→ 币 \U0001f511'" in error
