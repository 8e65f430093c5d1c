"""The golden backtests: known scenarios give known figures, on every machine."""

from __future__ import annotations

import json

import pytest

from tests.support.backtests.golden import NAMES, figures, scenario

TOLERANCE = 1e-4  # 0.01 %


@pytest.mark.parametrize("name", NAMES)
def test_a_scenario_gives_its_recorded_figures(name: str) -> None:
    one = scenario(name)
    recorded = json.loads(one.path.read_text())

    measured = figures(one.run())

    for group in ("figures", "metrics"):
        assert measured[group] == pytest.approx(recorded[group], rel=TOLERANCE, abs=1e-5)
    for exact in ("num_trades", "fills", "refused", "fingerprints"):
        assert measured[exact] == recorded[exact]


def test_the_scenarios_reach_what_they_are_there_for() -> None:
    recorded = {name: json.loads(scenario(name).path.read_text()) for name in NAMES}

    assert (recorded["buy_hold"]["fills"], recorded["buy_hold"]["num_trades"]) == (1, 0)
    assert recorded["ma_cross"]["num_trades"] > 10
    assert recorded["trendline"]["num_trades"] > 10
    assert recorded["trendline"]["refused"]["DAILY_LOSS_CAP"] > 0
