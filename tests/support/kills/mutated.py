"""Faults built into a daemon on purpose: ``python -m tests.support.kills.mutated MUTATION DAEMON …`` runs it with one.

The kill tests must find each of them. Two faults cannot be shown this way. Sending before the disk has confirmed:
SIGKILL takes a process away, not the operating system's memory, so that what was written stays written; it takes a
simulated disk that loses what was not synced. Identities out of a random source: what dies before it is on record
was never seen, and what is on record is read from there, so that no process gives two names to one thing.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from core.contracts import Contract
from core.ledger import Cause, Ledger
from core.service.host import ComponentHost

LATE_S: Final = 0.5


def relays_before_it_journals() -> None:
    """The ledger is written some time after the bus was given the messages."""
    commit = Ledger.commit

    def late(self: Ledger) -> None:
        asyncio.get_running_loop().call_later(LATE_S, commit, self)

    Ledger.commit = late  # type: ignore[method-assign]


def forgets_what_it_processed() -> None:
    """After a restart the streams are read from their beginning, and nothing there is recognised."""
    recover = ComponentHost.recover

    def forgetful(self: ComponentHost) -> int:
        count = recover(self)
        self.consumed.clear()
        return count

    ComponentHost.recover = forgetful  # type: ignore[method-assign]


def keeps_something_to_itself() -> None:
    """Every fifth answer to the market changes the state, and is neither told nor in the ledger."""
    record = ComponentHost._record
    count = 0

    def silent(
        self: ComponentHost, event: Contract, cause: Cause, answers: Sequence[Contract], *rest: Any, **options: Any
    ) -> Any:
        nonlocal count
        if answers and not options.get("recorded"):
            count += 1
            if count % 5 == 0:
                return []
        return record(self, event, cause, answers, *rest, **options)

    ComponentHost._record = silent  # type: ignore[method-assign]


_ALL: Final = (relays_before_it_journals, forgets_what_it_processed, keeps_something_to_itself)
MUTATIONS: Final[dict[str, Callable[[], None]]] = {mutation.__name__: mutation for mutation in _ALL}


def main() -> int:
    """Patch, then run the daemon's own main with what is left of the command line."""
    mutation, daemon = sys.argv[1:3]
    MUTATIONS[mutation]()
    sys.argv = [f"apps.{daemon}", *sys.argv[3:]]
    code: int = importlib.import_module(f"apps.{daemon}.main").main()
    return code


if __name__ == "__main__":
    sys.exit(main())
