"""One strategy at work: called within its budget, its answers checked, its failures counted and contained."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from core.config.schema import StrategyConfig
from core.contracts import Contract, OrderCancel, OrderIntent
from core.errors import RejectedError
from strategies.base import Reloadable, StrategyBase
from strategies.hosting.admission import ANSWER_LIMIT, Admission
from strategies.time_budget import StrategyTimeout, TimeBudget

ERROR_LIMIT: Final = 3  # failed calls in a row after which a strategy is stopped
TIMEOUT_LIMIT: Final = 3  # calls over the time budget, in a row or not, after which it is stopped
REMEDY: Final = "correct it, then reload the strategy_runner (SIGHUP); its positions are kept"
_log: Final = logging.getLogger("njord.strategies")


@dataclass(frozen=True, slots=True)
class StrategyStatus:
    """The status of a strategy. ``stopped`` is empty while it runs, otherwise the reason."""

    strategy_id: str
    class_path: str
    stopped: str
    calls: int
    intents: int
    errors: int
    timeouts: int
    rejected: int
    last_error: str


@dataclass(slots=True)
class Tally:
    """The counters of a strategy over its life in this process, reloads included."""

    calls: int = 0
    intents: int = 0
    errors: int = 0
    timeouts: int = 0
    rejected: int = 0
    last_error: str = ""


class HostedStrategy:
    """Calls a strategy so that whatever it does stays with it.

    It is stopped after ``ERROR_LIMIT`` failed calls in a row or ``TIMEOUT_LIMIT`` timeouts; a call with an
    answer that had to be refused counts as failed. An answer is whole: what a strategy yielded before it
    raised is dropped.
    """

    def __init__(
        self,
        entry: StrategyConfig,
        strategy: StrategyBase,
        admission: Admission,
        budget: TimeBudget,
        tally: Tally,
    ) -> None:
        self.entry = entry
        self.strategy = strategy
        self.stopped = ""
        self.tally = tally
        self._admission = admission
        self._budget = budget
        self._failed_in_a_row = 0
        self._timeouts = 0

    def answer(self, event: Contract) -> list[OrderIntent | OrderCancel]:
        """The answers of the strategy to the event, as far as it may leave; nothing once it is stopped."""
        if self.stopped:
            return []
        self.tally.calls += 1
        try:
            admitted, refused = self._budget.call(self._collect, event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 — foreign code: SystemExit and timeouts stay with it too
            self._failed(error, event)
            return []
        if refused:
            self._refused(refused, event)
        else:
            self._failed_in_a_row = 0
        self.tally.intents += len(admitted)
        return admitted

    def state(self) -> Any:
        """The state that the strategy hands to its successor; None when it takes no part, was stopped, or fails:
        a corrected version must not depend on the broken one."""
        if self.stopped or not isinstance(self.strategy, Reloadable):
            return None
        try:
            return self._budget.call(self.strategy.state)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 — foreign code: its successor starts cold instead
            _log.error("strategy %s could not hand over its state: %s", self.entry.id, error, exc_info=error)
            return None

    def status(self) -> StrategyStatus:
        """The status of the strategy."""
        t, d = self.tally, self.entry
        return StrategyStatus(
            d.id, d.class_path, self.stopped,
            t.calls, t.intents, t.errors, t.timeouts, t.rejected, t.last_error,
        )  # fmt: skip

    def _collect(self, event: Contract) -> tuple[list[OrderIntent | OrderCancel], list[str]]:
        answered: object = self.strategy.on_event(event)
        if answered is None:  # a function that falls off its end has nothing to say
            return [], []
        if not isinstance(answered, Iterable):
            return [], [f"expected an iterable of OrderIntent, got {type(answered).__name__}; return a list"]
        answers = list(islice(answered, ANSWER_LIMIT + 1))
        if len(answers) > ANSWER_LIMIT:
            return [], [f"expected at most {ANSWER_LIMIT} answers to one event, got more; all were dropped"]
        admitted: list[OrderIntent | OrderCancel] = []
        refused: list[str] = []
        for index, answer in enumerate(answers):
            try:
                admitted.append(self._admission.admit(answer, event, index))
            except RejectedError as error:
                refused.append(f"answer {index}: {error}")
        return admitted, refused

    def _refused(self, reasons: list[str], event: Contract) -> None:
        self.tally.rejected += len(reasons)
        for reason in reasons:
            self.tally.last_error = reason
            _log.error("refused, from %s: %s", self._place(event), reason)
        self._count_failure()

    def _failed(self, error: BaseException, event: Contract) -> None:
        self.tally.errors += 1
        self.tally.last_error = f"{type(error).__name__}: {error}"
        if isinstance(error, StrategyTimeout):
            self.tally.timeouts += 1
            self._timeouts += 1
        _log.error("%s failed: %s", self._place(event), self.tally.last_error, exc_info=error)
        self._count_failure()

    def _count_failure(self) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row < ERROR_LIMIT and self._timeouts < TIMEOUT_LIMIT:
            return
        self.stopped = f"{self._failed_in_a_row} failed calls in a row, {self._timeouts} timeouts"
        _log.critical(
            "strategy %s is stopped after %s, the last one: %s; %s",
            self.entry.id, self.stopped, self.tally.last_error, REMEDY,
        )  # fmt: skip

    def _place(self, event: Contract) -> str:
        d = self.entry
        return f"strategy {d.id} ({d.class_path}) on {type(event).__name__} at {event.ts_ns}"
