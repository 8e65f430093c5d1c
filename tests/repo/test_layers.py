"""The import rules of pyproject.toml: arrows up or sideways, between packages and between rooms, are refused.

Each rule is shown on a tree of its own, empty but for the arrow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
PACKAGES: list[str] = SETTINGS["root_packages"]

FORBIDDEN = [
    ("core", "risk", "core imports nothing of ours"),
    ("risk", "portfolio", "domain packages do not know each other"),
    ("strategies", "execution", "a strategy reaches no venue"),
    ("execution", "backtest", "the domain does not know its hosts"),
    ("controller", "apps", "daemons are imported by nobody"),
    ("telemetry", "apps", "daemons are imported by nobody"),
    ("core.bus", "core.ledger", "transport knows no ledger"),
    ("core.journal", "core.service", "files know no host"),
    ("core.contracts", "core.bus", "messages know no transport"),
    ("strategies.orders", "strategies.hosting", "what a strategy owns knows no host"),
    ("backtest.engine", "backtest.sweep", "a run knows no sweep"),
    ("backtest.data", "backtest.engine", "data knows no engine"),
    ("backtest.lint", "backtest.simulation.world", "the world is the rehearsal's"),
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
    (tree / importer.replace(".", "/") / "arrow.py").write_text(f"import {imported}.target\n")
    (tree / imported.replace(".", "/") / "target.py").touch()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Every package of the project, empty, under the project's contract."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        make_package(tmp_path / package)
    for rule in SETTINGS["contracts"]:
        for container in rule.get("containers", ()):
            for room in (name for layer in rule["layers"] for name in layer.split() if name.isidentifier()):
                make_package(tmp_path / container / room)
        for module in rule.get("protected_modules", ()):
            make_package(tmp_path / module.replace(".", "/"))
    return tmp_path


def make_package(folder: Path) -> None:
    """An empty package, its parents included."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").touch()


@pytest.mark.parametrize(("importer", "imported", "rule"), FORBIDDEN, ids=[f"{a}-{b}" for a, b, _ in FORBIDDEN])
def test_an_arrow_up_or_sideways_is_refused(tree: Path, importer: str, imported: str, rule: str) -> None:
    plant(tree, importer, imported)
    done = lint(tree)
    assert done.returncode == 1, rule
    assert f"{importer}.arrow -> {imported}.target" in done.stdout


def test_arrows_down_are_kept(tree: Path) -> None:
    plant(tree, "apps", "risk")
    plant(tree, "risk", "core.bus")
    plant(tree, "backtest.sweep", "execution")
    plant(tree, "core.service", "core.ledger")
    done = lint(tree)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_modules_that_need_each_other_are_refused(tree: Path) -> None:
    (tree / "risk" / "one.py").write_text("import risk.two\n")
    (tree / "risk" / "two.py").write_text("import risk.one\n")
    done = lint(tree)
    assert done.returncode == 1
    assert "No cycles are allowed in risk" in done.stdout


def test_a_room_without_a_layer_is_refused(tree: Path) -> None:
    make_package(tree / "core" / "attic")
    done = lint(tree)
    assert done.returncode == 1
    assert "attic" in done.stdout


def test_the_contract_covers_every_package_of_the_checkout() -> None:
    outside = {"tests", "scripts", "benchmarks"}
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} - outside == set(PACKAGES)
