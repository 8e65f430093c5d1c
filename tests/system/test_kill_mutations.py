"""The kill tests can fail: daemons with a fault built in are found out, each for its own reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.kills.plan import Kind, Plan, Strike
from tests.support.kills.session import Feed, KillSession

pytestmark = pytest.mark.timeout(600)
FEED = Feed("synthetic:11:600", "20x")
SESSIONS = 4
IN_BETWEEN = Strike(Kind.CRASH, "paper_trader", 0.2, point="after_relay", passing=8)  # which has always told something
AFTER_SOME_FILLS = Strike(Kind.KILL, "paper_trader", 3.0, hunted=True)
PAPER = Strike(Kind.KILL, "paper_trader", 1.0, hunted=True)


@pytest.mark.full
@pytest.mark.parametrize(
    ("mutation", "strike", "breach"),
    [
        ("relays_before_it_journals", IN_BETWEEN, "but Redis has its stream up to"),
        ("forgets_what_it_processed", PAPER, "paper_trader processed risk_engine"),
        ("keeps_something_to_itself", AFTER_SOME_FILLS, "position in"),
    ],
)
def test_a_fault_built_into_a_daemon_is_found(mutation: str, strike: Strike, breach: str, tmp_path: Path) -> None:
    """Where a process stands when it is struck is up to the machine: the fault is found in one of a few sessions."""
    daemon, violations = strike.target, list[str]()
    modules = {daemon: ("tests.support.kills.mutated", mutation, daemon)}

    for session in range(SESSIONS):
        struck = replace(strike, passing=strike.passing + 3 * session)
        folder = tmp_path / str(session)
        violations += (
            KillSession(Plan(0, session, "always", (struck,)), folder, FEED, modules=modules, settle_s=10)
            .run()
            .violations
        )
        if any(breach in violation for violation in violations):
            return

    pytest.fail(f"{mutation} was not found in {SESSIONS} sessions: {violations[:10]}")
