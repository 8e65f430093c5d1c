"""The lock files pin everything by hash, name no address and agree with pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIN = re.compile(r"^([\w.-]+)==([\w.!+-]+)(?: ; .+?)? \\\n((?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)


def pins(lock: str) -> dict[str, set[str]]:
    """The pinned versions by canonical name; more than one where Python versions need different ones."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, version, _ in PIN.findall((ROOT / lock).read_text()):
        found[canonicalize_name(name)].add(version)
    return dict(found)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    options = [line for line in lines if "://" in line or "@" in line or (line.startswith("-"))]
    assert options == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_line_of_a_lock_is_a_pin_with_hashes(lock: str) -> None:
    assert PIN.sub("", (ROOT / lock).read_text()).strip() == ""


@pytest.mark.parametrize(
    ("lock", "extras"),
    [("requirements.lock", {"build"}), ("requirements-dev.lock", set(PROJECT["optional-dependencies"]))],
)
def test_a_lock_satisfies_what_pyproject_asks_for(lock: str, extras: set[str]) -> None:
    asked = [*PROJECT["dependencies"], *(r for extra in extras for r in PROJECT["optional-dependencies"][extra])]
    locked = pins(lock)
    for requirement in map(Requirement, asked):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not in {lock}; run `make lock`"
        assert all(Version(v) in requirement.specifier for v in versions), f"{requirement} is {versions} in {lock}"


def test_the_runtime_lock_is_a_part_of_the_whole_at_equal_versions() -> None:
    runtime, everything = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: everything.get(name) for name in runtime} == runtime


def test_daemons_do_not_install_test_tools() -> None:
    heavy = {"pytest", "mypy", "ruff", "hypothesis", "fakeredis", "pandas", "pyarrow"}
    assert heavy.isdisjoint(pins("requirements.lock"))
