"""What a newcomer types: make, the set-up script behind it, and what continuous integration runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.environment import MAKE_VARIABLES, clean_environment

SPECIFIED = {
    *("help", "install", "fmt", "lint", "type", "test", "run", "run-md", "run-risk", "run-paper", "run-strat"),
    *("run-kill-trip", "run-kill-clear", "check-kill", "journal"),
}


def call(*words: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command without the settings of an outer make."""
    return subprocess.run(
        words,
        cwd=cwd,
        env={**clean_environment(), **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with a finished .venv whose installer only writes down what it is asked to do."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/bootstrap.sh", "requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    installer = programs / "uv"
    installer.write_text('#!/bin/sh\nprintf "%s\\n" "$*" >>"$(dirname "$0")/../asked"\n')
    installer.chmod(0o755)
    return tmp_path


def asked(checkout: Path) -> list[str]:
    """What the installer was asked to do since the last look."""
    path = checkout / ".venv" / "asked"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_make_alone_lists_every_specified_target() -> None:
    done = call("make")
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert done.returncode == 0, done.stderr
    assert listed >= SPECIFIED


def test_every_target_of_make_is_phony_and_documented() -> None:
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    phony = set(next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:])
    rules = [line for line in text.splitlines() if ":" in line and line[0].isalpha() and ":=" not in line]
    targets = {line.partition(":")[0] for line in rules if "?=" not in line}
    assert targets == phony
    assert {line.partition(":")[0] for line in rules if "## " not in line} == {"present"}


def test_make_run_hands_feed_venue_and_symbol_to_the_fleet() -> None:
    done = call("make", "-n", "run", "FEED=a b.gz", "VENUE=binance", "SYMBOL=BTC/USDT", "ARGS=--fast")
    assert '-m apps.fleet --feed "a b.gz" --venue "binance" --symbol "BTC/USDT" --fast' in done.stdout


def test_the_kill_switch_does_not_wait_for_an_update() -> None:
    done = call("make", "-n", "run-kill-trip")
    assert "bootstrap.sh runtime" not in done.stdout.replace(
        "[ -x .venv/bin/python ] || scripts/bootstrap.sh runtime", ""
    )


def test_set_up_installs_by_hash_and_then_the_project_without_dependencies(checkout: Path) -> None:
    done = call("scripts/bootstrap.sh", "runtime", cwd=checkout)
    packages, project = asked(checkout)
    assert done.returncode == 0, done.stderr
    assert packages.endswith("--require-hashes -r requirements.lock")
    assert project.endswith("--no-deps --no-build-isolation -e .")


def test_a_second_set_up_does_nothing(checkout: Path) -> None:
    call("scripts/bootstrap.sh", "runtime", cwd=checkout)
    asked(checkout)
    done = call("scripts/bootstrap.sh", "runtime", cwd=checkout)
    assert (done.returncode, done.stdout, done.stderr, asked(checkout)) == (0, "", "", [])


def test_set_up_for_development_covers_running(checkout: Path) -> None:
    call("scripts/bootstrap.sh", "dev", cwd=checkout)
    asked(checkout)
    call("scripts/bootstrap.sh", "runtime", cwd=checkout)
    assert asked(checkout) == []


def test_a_changed_lock_is_installed(checkout: Path) -> None:
    call("scripts/bootstrap.sh", "runtime", cwd=checkout)
    asked(checkout)
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    call("scripts/bootstrap.sh", "runtime", cwd=checkout)
    assert len(asked(checkout)) == 2


def test_a_failed_installation_is_tried_again(checkout: Path) -> None:
    installer = checkout / ".venv" / "bin" / "uv"
    working = installer.read_text()
    installer.write_text("#!/bin/sh\nexit 1\n")
    (checkout / ".venv" / "bin" / "python").unlink()
    (checkout / ".venv" / "bin" / "python").write_text('#!/bin/sh\n[ "$1" = -c ]\n')  # a pip that fails, too
    (checkout / ".venv" / "bin" / "python").chmod(0o755)
    assert call("scripts/bootstrap.sh", "runtime", cwd=checkout).returncode != 0
    installer.write_text(working)
    assert call("scripts/bootstrap.sh", "runtime", cwd=checkout).returncode == 0
    assert len(asked(checkout)) == 2


def test_an_interpreter_that_is_too_old_is_refused_with_what_to_do(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    old = checkout / "python2"
    old.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 1 ;; *) echo 2.7.18 ;; esac\n')
    old.chmod(0o755)
    done = call("scripts/bootstrap.sh", "runtime", cwd=checkout, PYTHON=str(old))
    assert done.returncode == 1
    assert "expected Python 3.11 or newer" in done.stderr
    assert "got 2.7.18" in done.stderr


def test_a_python_without_venv_and_pip_is_refused_with_what_to_do(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    bare = checkout / "bare"
    bare.write_text('#!/bin/sh\n[ "$1" = -m ] && exit 1\ncase "$2" in *platform*) echo 3.11.2 ;; esac\n')
    bare.chmod(0o755)
    programs = checkout / "programs"
    programs.mkdir()
    for name in ("sh", "cat", "cksum", "dirname", "rm"):
        (programs / name).symlink_to(shutil.which(name) or "")
    done = call("scripts/bootstrap.sh", "runtime", cwd=checkout, PYTHON=str(bare), PATH=str(programs))
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr


def test_an_unknown_kind_of_set_up_is_refused(checkout: Path) -> None:
    done = call("scripts/bootstrap.sh", "everything", cwd=checkout)
    assert (done.returncode, "got 'everything'" in done.stderr) == (1, True)


def test_what_a_suite_was_started_with_does_not_reach_the_commands_that_its_tests_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ARGS", "-k name")
    monkeypatch.setenv("MAKEFLAGS", "-- ARGS=-k\\ name")
    monkeypatch.setenv("MAKEOVERRIDES", "${-*-command-variables-*-}")

    done = call("make", "-n", "-o", "install", "test")

    assert "pytest" in done.stdout
    assert "-k name" not in done.stdout


def test_every_variable_of_the_makefile_is_kept_from_those_commands() -> None:
    text = (ROOT / "Makefile").read_text()
    set_by_people = set(re.findall(r"\$\(([A-Z_]+)\)", text)) | set(re.findall(r"(?m)^(\w+) \?=", text))
    internal = set(re.findall(r"(?m)^(\w+) (?::=|=)", text))
    kept = {name for name in set_by_people - internal if name in clean_environment(dict.fromkeys(set_by_people, "x"))}
    assert kept == set()
    assert {"ARGS", "WORKERS"} <= MAKE_VARIABLES


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
