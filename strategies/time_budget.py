"""Takes the processor back from a strategy that does not return: a wall-clock budget for each call.

A call only leaves its start time behind; a watcher thread looks once per budget and, when a call is overdue,
signals the main thread, where ``StrategyTimeout`` is raised inside the strategy. The interval timer
(SIGALRM) is not used: a process has one, and others, test runners among them, want it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

SIGNAL: Final[int] = signal.SIGRTMIN + 5 if hasattr(signal, "SIGRTMIN") else signal.SIGUSR2
REPEAT_S: Final = 0.05  # between two signals to a strategy that swallowed the first
IDLE_LIMIT: Final = 60  # budgets without a call after which the watcher ends; the next call starts another


class StrategyTimeout(BaseException):
    """The budget is spent. Not an ``Exception``, so that a strategy's own ``except Exception`` lets it through."""


class TimeBudget:
    """Calls functions that may take ``budget_s`` seconds each; None or 0 means as long as they like.

    Enforced for calls on the main thread, since signals are handled nowhere else. Calls on other threads, or in
    a forked child of a process that made some before, simply run. C code that neither returns nor checks for
    signals is out of reach: a service manager's watchdog has to end such a process.
    """

    def __init__(self, budget_s: float | None) -> None:
        self.budget_s = budget_s or 0.0
        self._started = 0.0  # monotonic seconds; 0 while no call is running
        self._watcher: threading.Thread | None = None
        self._main = threading.main_thread().ident

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the function. Raises StrategyTimeout once the budget is spent."""
        if not self.budget_s or threading.get_ident() != self._main:
            return function(*args, **kwargs)
        if self._watcher is None:
            signal.signal(SIGNAL, _interrupt)
            self._start_watcher()
        self._started = time.monotonic()  # wall clock: guards the process, decides nothing
        try:
            return function(*args, **kwargs)
        finally:
            # Safe against a late signal: the handler raises in frames below this one only.
            self._started = 0.0

    def check(self) -> None:
        """Raise StrategyTimeout when the call that is running is overdue."""
        if self._overdue_s() >= 0.0:
            raise StrategyTimeout(f"not done after {self.budget_s:g} s")

    def _overdue_s(self) -> float:
        """Seconds since the budget of the running call was spent; negative while there is time or no call."""
        started = self._started
        return time.monotonic() - started - self.budget_s if started else -self.budget_s

    def _start_watcher(self) -> None:
        self._watcher = threading.Thread(target=self._watch, name="strategy-time-budget", daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        idle, pause = 0, self.budget_s
        while idle < IDLE_LIMIT and self._main is not None:
            time.sleep(pause)
            idle = 0 if self._started else idle + 1
            overdue = self._overdue_s()
            if overdue >= 0.0:
                signal.pthread_kill(self._main, SIGNAL)
            pause = REPEAT_S if overdue >= 0.0 else -overdue
        self._watcher = None
        if self._started:
            self._start_watcher()  # a call began after the last look and before the line above


def _interrupt(_signal: int, frame: FrameType | None) -> None:
    """Find the budget that the interrupted code runs under and let it raise."""
    below = False  # whether the interrupted frame lies below the call, in code the budget is for
    while frame is not None:
        if frame.f_code is TimeBudget.call.__code__:
            if below:
                budget: TimeBudget = frame.f_locals["self"]
                budget.check()
            return
        below = True
        frame = frame.f_back
