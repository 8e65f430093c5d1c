"""Waiting within a limit: for an event, and for tasks to end; the one place that cancels and waits.

A cancellation can get lost: ``asyncio.wait_for`` of Python 3.11 drops one that comes at the moment at which what it
waits for is done. A task that waits for something that never comes would then keep its daemon from ending.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

AGAIN_S: Final = 0.05  # between two cancellations of the same task
END_TIMEOUT_S: Final = 2.0
_log: Final = logging.getLogger("njord.tasks")


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], timeout_s: float = END_TIMEOUT_S) -> None:
    """Cancel tasks and wait until they have ended, ``timeout_s`` at most. An error that a task raised stays in it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    pending = [task for task in tasks if not task.done()]  # in their order: what they do when they end may depend on it
    while pending and loop.time() < deadline:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_S)
        pending = [task for task in pending if not task.done()]
    for task in pending:
        _log.warning("%s did not end within %g s; the process goes on without it", task.get_name(), timeout_s)


async def wait_up_to(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait for an event, ``timeout_s`` at most; whether it is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), timeout_s)
    return event.is_set()
