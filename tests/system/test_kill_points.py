"""Every ledgered daemon dies at every named place between two of its effects, under load, and goes on as if not."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.daemons import LEDGERED
from core.service.crash_points import POINTS
from tests.support.kills.plan import crashes
from tests.system.test_kill_processes import suffered

pytestmark = pytest.mark.timeout(600)


@pytest.mark.full
@pytest.mark.parametrize("daemon", LEDGERED)
def test_a_daemon_that_dies_between_two_effects_leaves_nothing_half_done(daemon: str, tmp_path: Path) -> None:
    outcome = suffered(crashes(5, daemon), tmp_path)

    assert {each.strike.point for each in outcome.struck} == set(POINTS)
