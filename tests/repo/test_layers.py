"""The layer contract in pyproject.toml refuses arrows that point up or sideways; shown on a tree of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]

FORBIDDEN = [
    ("core", "risk", "core imports nothing of ours"),
    ("risk", "portfolio", "domain packages do not know each other"),
    ("strategies", "execution", "a strategy reaches no venue"),
    ("execution", "backtest", "the domain does not know its hosts"),
    ("controller", "apps", "daemons are imported by nobody"),
    ("telemetry", "apps", "daemons are imported by nobody"),
]


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on a tree as `make lint` does."""
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )


def plant(tree: Path, importer: str, imported: str) -> None:
    """Make one package of the tree import another."""
    (tree / importer / "arrow.py").write_text(f"import {imported}.target\n")
    (tree / imported / "target.py").touch()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Every package of the project, empty, under the project's contract."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    return tmp_path


@pytest.mark.parametrize(("importer", "imported", "rule"), FORBIDDEN, ids=[f"{a}-{b}" for a, b, _ in FORBIDDEN])
def test_an_arrow_up_or_sideways_is_refused(tree: Path, importer: str, imported: str, rule: str) -> None:
    plant(tree, importer, imported)
    done = lint(tree)
    assert done.returncode == 1, rule
    assert f"{importer}.arrow -> {imported}.target" in done.stdout


def test_arrows_down_are_kept(tree: Path) -> None:
    plant(tree, "apps", "risk")
    plant(tree, "risk", "core")
    plant(tree, "backtest", "execution")
    done = lint(tree)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_covers_every_package_of_the_checkout() -> None:
    outside = {"tests", "scripts", "benchmarks"}
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")} - outside
    assert found == set(PACKAGES)
