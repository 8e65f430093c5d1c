"""A daemon made too slow on purpose: ``python -m tests.support.kills.slowed SECONDS ROOM DAEMON …`` runs it so.

Every trade costs its component that many seconds more, in which the process does nothing else, as when a strategy
computes; ``ROOM`` broadcasts may wait for it. Its health page says how many trades it took.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from core.bus import RedisBus
from core.contracts import Contract, TradeEvent
from core.service.daemon import Service
from core.service.host import ComponentHost
from tests.support.waiting import pause


def slow_down(seconds: float, room: int) -> None:
    """Make the daemon of this process slow."""
    answer, report = ComponentHost._answer, Service.report
    taken = 0

    def slowly(self: ComponentHost, event: Contract) -> Any:
        nonlocal taken
        if isinstance(event, TradeEvent):
            taken += 1
            pause(seconds)
        return answer(self, event)

    ComponentHost._answer = slowly  # type: ignore[method-assign]
    Service.report = lambda self: {**report(self), "trades_taken": taken}  # type: ignore[method-assign]
    (RedisBus.__init__.__kwdefaults__ or {})["inbox_limit"] = room


def main() -> int:
    """Patch, then run the daemon's own main with what is left of the command line."""
    seconds, room, daemon = sys.argv[1:4]
    slow_down(float(seconds), int(room))
    sys.argv = [f"apps.{daemon}", *sys.argv[4:]]
    code: int = importlib.import_module(f"apps.{daemon}.main").main()
    return code


if __name__ == "__main__":
    sys.exit(main())
