"""The rules of the tests themselves: they wait for conditions, with limits that grow with the load of the machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import ROOT
from tests.support import waiting
from tests.support.skips import ACCEPTED, AcceptedSkip, SkipJudge
from tests.support.waiting import Deadline, load_factor, patience, wait_until

TESTS: Final = ROOT / "tests"
WAITING: Final = "tests/support/waiting.py"
MAY_SLEEP: Final = {  # what the sleep is the subject of, or on which clock it passes
    WAITING: "the one place",
    "tests/backtest/simulation/test_rehearsal.py": "the loop policy is asked whether it is alive",
    "tests/backtest/simulation/test_rehearsal_world.py": "virtual time",
    "tests/strategies/hosting/test_containment.py": "a strategy that sleeps is stopped",
}
LIMITED: Final = ("asyncio.timeout", "asyncio.wait_for", "communicate", "subprocess.run", "urlopen", "wait")
SHORTEST_S: Final = 1.0  # below it a limit says that something does not happen


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(TESTS.rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def sleeps(tree: ast.AST) -> list[int]:
    """The lines that sleep."""
    return [call.lineno for name, call in calls(tree) if name in ("time.sleep", "asyncio.sleep", "sleep")]


def fixed_limits(tree: ast.AST) -> list[int]:
    """The lines that give a waiting call a number of seconds which is the same on every machine."""
    return [
        call.lineno
        for name, call in calls(tree)
        if name.endswith(LIMITED)
        for limit in [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "timeout")]
        if isinstance(limit, ast.Constant) and isinstance(limit.value, int | float) and limit.value >= SHORTEST_S
    ]


def test_no_test_sleeps_but_where_the_sleep_is_what_it_is_about() -> None:
    sleeping = {path for path, tree in trees() if sleeps(tree)}

    assert sleeping == set(MAY_SLEEP), "wait with tests.support.waiting.wait_until or until"


def test_no_wait_has_a_limit_that_is_the_same_on_a_busy_machine() -> None:
    fixed = [f"{path}:{line}" for path, tree in trees() if path != WAITING for line in fixed_limits(tree)]

    assert fixed == [], "write patience(seconds), or within(seconds) for a block"


def test_both_rules_see_what_they_forbid() -> None:
    assert sleeps(ast.parse("import time\ntime.sleep(1)")) == [2]
    assert fixed_limits(ast.parse("process.wait(20)\nsubprocess.run(x, timeout=5)\nawait asyncio.wait_for(x, 5)")) == [
        *(1, 2, 3)
    ]
    assert fixed_limits(ast.parse("process.wait(patience(20))\nawait asyncio.wait_for(x, 0.01)")) == []


# --- patience


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that says how loaded a machine of two cores is; a quiet one."""
    path = tmp_path / "loadavg"
    path.write_text("0.10 0.20 0.30 1/200 4711\n")
    monkeypatch.setattr(waiting, "_LOAD", path)
    monkeypatch.setattr(waiting, "_CORES", 2)
    monkeypatch.delenv("NJORD_TEST_PATIENCE", raising=False)
    return path


def test_a_limit_is_what_it_says_on_a_quiet_machine_and_longer_by_the_load_on_a_busy_one(load: Path) -> None:
    assert patience(5) == 5
    load.write_text("8.00 3.00 1.00 2/200 4711\n")
    assert patience(5) == 20
    load.write_text("0.50 3.00 1.00 12/200 4711\n")  # busy since a moment ago
    assert patience(5) == 30


def test_no_load_makes_a_wait_endless(load: Path) -> None:
    load.write_text("900.00 3.00 1.00 2/200 4711\n")

    assert load_factor() == waiting.MOST_FACTOR


def test_whoever_runs_the_tests_may_ask_for_more_patience(load: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NJORD_TEST_PATIENCE", "3")

    assert patience(5) == 15


def test_a_wait_that_began_on_a_quiet_machine_is_stretched_when_it_becomes_busy(
    load: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("tests.support.waiting.time.monotonic", lambda: now[0])
    deadline = Deadline(10)
    now[0] += 25
    load.write_text("6.00 3.00 1.00 2/200 4711\n")
    assert not deadline.passed
    load.write_text("0.10 0.20 0.30 1/200 4711\n")  # what was busy excuses what took long
    assert not deadline.passed
    now[0] += 10
    assert deadline.passed


def test_a_condition_that_never_holds_fails_with_its_name_and_the_limit(load: Path) -> None:
    with pytest.raises(AssertionError, match=r"the fleet comes to rest: did not come true in 0 s \(0\.01 s times"):
        wait_until(lambda: False, 0.01, "the fleet comes to rest")


# --- skips


def test_in_continuous_integration_a_skip_is_accepted_only_by_an_entry_for_it_where_its_condition_holds() -> None:
    entry = AcceptedSkip("tests/a/*", "no browser", "a browser is large", lambda: True)
    elsewhere = AcceptedSkip("tests/a/*", "no browser", "a browser is large", lambda: False)

    assert SkipJudge([entry]).complaint("tests/a/test_x.py::test_y", "Skipped: no browser here") is None
    for judge, node_id, message in (
        (SkipJudge([entry]), "tests/b/test_x.py::test_y", "no browser"),
        (SkipJudge([entry]), "tests/a/test_x.py::test_y", "no server"),
        (SkipJudge([elsewhere]), "tests/a/test_x.py::test_y", "no browser"),
    ):
        assert "add an entry with the reason" in (judge.complaint(node_id, message) or "")


def test_an_entry_whose_tests_all_ran_is_stale_and_one_whose_tests_were_not_asked_for_is_not() -> None:
    needed, stale, elsewhere = (AcceptedSkip(f"tests/{name}*", "absent", "…", lambda: True) for name in "abc")
    judge = SkipJudge([needed, stale, elsewhere])

    judge.see("tests/a.py::test_x", None)
    judge.see("tests/a.py::test_y", "absent here")
    judge.see("tests/b.py::test_x", None)

    assert judge.stale() == [stale]


@pytest.mark.parametrize("entry", ACCEPTED, ids=lambda entry: entry.message)
def test_an_accepted_skip_speaks_of_tests_that_exist_and_says_why(entry: AcceptedSkip) -> None:
    files = [str(path.relative_to(ROOT)) for path in TESTS.rglob("test_*.py")]

    assert any(fnmatchcase(f"{file}::test", entry.tests) or entry.tests.startswith(file) for file in files)
    assert entry.reason
