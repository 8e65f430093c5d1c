"""The kill tests can fail: daemons with a fault built in are found out, each for its own reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.kill_plan import Kind, Plan, Strike
from tests.support.kill_session import Feed, KillSession

pytestmark = pytest.mark.timeout(600)
FEED = Feed("synthetic:11:600", "20x")
IN_BETWEEN = Strike(Kind.CRASH, "paper_trader", 0.2, point="after_relay", passing=8)  # which has always told something
AFTER_SOME_FILLS = Strike(Kind.KILL, "paper_trader", 3.0, hunted=True)
PAPER = Strike(Kind.KILL, "paper_trader", 1.0, hunted=True)


@pytest.mark.full
@pytest.mark.parametrize(
    ("mutation", "strike", "found"),
    [
        ("relays_before_it_journals", IN_BETWEEN, "but Redis has its stream up to"),
        ("forgets_what_it_processed", PAPER, "paper_trader processed risk_engine"),
        ("keeps_something_to_itself", AFTER_SOME_FILLS, "position in"),
    ],
)
def test_a_fault_built_into_a_daemon_is_found(mutation: str, strike: Strike, found: str, tmp_path: Path) -> None:
    daemon = strike.target
    modules = {daemon: ("tests.support.mutated", mutation, daemon)}

    outcome = KillSession(Plan(0, 0, "always", (strike,)), tmp_path, FEED, modules=modules, settle_s=10).run()

    assert any(found in each for each in outcome.violations), outcome.violations[:10]
