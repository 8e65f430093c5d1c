"""An event loop on virtual time: no sockets, no threads, no waiting. The same callbacks give the same order.

When nothing is ready, time jumps to the next timer. What a real loop would leave to the operating system (which of two
messages arrives first) is decided by seeded latencies elsewhere; the loop itself chooses nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")
BUSY_STEPS: Final = 100_000

OWNER: Final[ContextVar[TaskOwner | None]] = ContextVar("owner", default=None)
"""Whose tasks are being made: inherited by every task that one of the owner's tasks makes."""


class TaskOwner(Protocol):
    """Somebody who has to know every task it started, so that all of them can end with it."""

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Remember a task."""
        ...


class StalledError(RuntimeError):
    """Nothing is ready and no timer is set: everybody waits for somebody else, for ever."""


class BusyError(RuntimeError):
    """Something goes round and round without waiting: time cannot go on."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs tasks in virtual seconds, which begin at 0.

    Attributes:
        steps: how often the loop has gone round.
        after_step: called once after every round of callbacks, when set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.after_step: Callable[[], None] | None = None
        self._now = 0.0
        self._here = 0  # rounds since time last went on
        self._selector = self
        self.set_debug(False)
        self.set_task_factory(_owned_task)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        """The selector of the base class, which asks for events of the outside world: there is none, so time goes on.

        Raises:
            StalledError: there will never be anything to do.
        BusyError: there is always something to do, and time does not go on.
        """
        self.steps += 1
        self._here += 1
        if self._here > BUSY_STEPS:
            self._here = 0
            raise BusyError(f"something is busy without end at virtual second {self._now:.3f}")
        if self.after_step is not None:
            self.after_step()
        if timeout is None:
            raise StalledError(f"nothing will ever happen again at virtual second {self._now:.3f}")
        if timeout > 0 and not self._ready:  # type: ignore[attr-defined]  # what ``after_step`` may have added to
            # The timer's own time, not a sum: rounding must not leave it a moment ahead for ever.
            self._here = 0
            self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]  # of the base class
        return ()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]  # mypy wants variadic generics
        """Call at once: there are no threads."""
        answer: asyncio.Future[T] = self.create_future()
        try:
            answer.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 — whatever it is belongs to who awaits the answer
            answer.set_exception(error)
        return answer

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:  # type: ignore[override]  # as above
        """Nobody sends signals here."""

    def remove_signal_handler(self, sig: int) -> bool:
        """Nobody sends signals here."""
        return False

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody waits in another thread."""


def _owned_task(loop: asyncio.AbstractEventLoop, coro: Any, *, context: Context | None = None) -> asyncio.Task[Any]:
    task = asyncio.Task(coro, loop=loop, context=context)
    owner = OWNER.get() if context is None else context.get(OWNER)
    if owner is not None:
        owner.adopt(task)
    return task
