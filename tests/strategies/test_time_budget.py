"""The wall-clock budget of a call: where it bites, where it does not, and that it never bites late."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import suppress

import pytest

from strategies import time_budget
from strategies.time_budget import StrategyTimeout, TimeBudget


def spin(seconds: float) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return "done"


def test_a_call_within_its_budget_returns_what_the_function_returns() -> None:
    assert TimeBudget(5.0).call(spin, 0.001) == "done"


def test_a_call_over_its_budget_is_ended_soon_after_it() -> None:
    started = time.monotonic()

    with pytest.raises(StrategyTimeout):
        TimeBudget(0.05).call(spin, 60.0)
    assert time.monotonic() - started < 30.0


def test_the_budget_is_per_call_not_for_all_of_them() -> None:
    budget = TimeBudget(0.5)

    assert [budget.call(spin, 0.03) for _ in range(20)] == ["done"] * 20


def test_no_budget_means_no_limit_and_no_thread() -> None:
    before = threading.active_count()

    assert TimeBudget(None).call(spin, 0.01) == "done"
    assert threading.active_count() == before


def test_a_signal_that_comes_after_the_call_harms_nobody() -> None:
    budget = TimeBudget(0.05)
    with suppress(StrategyTimeout):
        budget.call(spin, 60.0)

    signal.raise_signal(time_budget.SIGNAL)

    assert spin(0.001) == "done"


def test_a_signal_within_the_budget_changes_nothing() -> None:
    def interrupted() -> str:
        signal.raise_signal(time_budget.SIGNAL)
        return "done"

    assert TimeBudget(60.0).call(interrupted) == "done"


def test_of_two_budgets_only_the_overdue_one_is_enforced() -> None:
    short, long = TimeBudget(0.05), TimeBudget(60.0)
    with pytest.raises(StrategyTimeout):
        short.call(spin, 60.0)

    assert long.call(spin, 0.2) == "done"


def test_off_the_main_thread_a_call_simply_runs() -> None:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(TimeBudget(0.01).call(spin, 0.05)))

    thread.start()
    thread.join()

    assert results == ["done"]


def test_the_watcher_ends_when_there_is_nothing_to_watch_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_budget, "IDLE_LIMIT", 1)
    budget = TimeBudget(0.02)
    budget.call(spin, 0.0)
    watcher = budget._watcher
    assert watcher is not None

    watcher.join()

    assert budget._watcher is None
    with pytest.raises(StrategyTimeout):
        budget.call(spin, 60.0)
