"""Real daemons and a real server, killed, frozen and emptied under load: nothing is lost and nothing is done twice.

The plans are seeded; `python -m scripts.torture --seed N` repeats one, or suffers hundreds of kills.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core.daemons import FEED
from tests.support import captures
from tests.support.fleet_config import busy_installation
from tests.support.invariants import assert_hold, journal
from tests.support.kills.plan import Kind, Plan, Strike, plan
from tests.support.kills.report import line_of, tables
from tests.support.kills.server import KillableServer
from tests.support.kills.session import Feed, KillSession, Outcome
from tests.support.processes import Processes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
SEED = 21  # of a plan with nearly every kind of strike
KILLS = 7
SYNTHETIC = Feed("synthetic:11:600", "20x")


def suffered(plan: Plan, folder: Path, feed: Feed = SYNTHETIC) -> Outcome:
    """Run the plan; everything that pytest shows of a failure is printed."""
    print(f"seed {plan.seed}, session {plan.number}, appendfsync {plan.sync}")
    outcome = KillSession(plan, folder, feed, on_strike=lambda struck: print(line_of(plan.number, struck))).run()
    print(tables([outcome]))
    assert outcome.violations == []
    assert len(outcome.struck) == len(plan.strikes)
    return outcome


def test_a_daemon_that_is_killed_with_work_under_way_goes_on_where_it_was(tmp_path: Path) -> None:
    outcome = suffered(Plan(1, 0, "always", (Strike(Kind.KILL, "paper_trader", 0.3, hunted=True),)), tmp_path)

    assert outcome.kills == 1


@pytest.mark.full
def test_a_fleet_that_is_killed_again_and_again_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    outcome = suffered(plan(SEED, 1, KILLS), tmp_path)

    assert outcome.kills == KILLS
    assert any(each.unsettled for each in outcome.struck), "no strike hit anything under way"


@pytest.mark.full
def test_on_recorded_data_every_trade_is_journaled_once_however_often_the_feed_is_killed(
    recorded_data: Path, tmp_path: Path
) -> None:
    recordings = captures.recorded(recorded_data)
    strikes = [Strike(Kind.KILL, name, 0.3, hunted=True) for name in (FEED, "paper_trader", FEED, "risk_engine", FEED)]
    strikes += [Strike(Kind.BOTH, FEED, 0.3, hunted=True, down_s=0.2), Strike(Kind.ALL, "fleet", 0.3, hunted=True)]

    outcome = suffered(Plan(3, 0, "everysec", tuple(strikes)), tmp_path, Feed(captures.feed_of(recordings), "4x"))

    assert outcome.kills == len(strikes)
    for symbol, path in recordings.items():
        raw = [trade.trade_id for trade in captures.trades_of(path)]
        got = [
            line["trade_id"] for line in journal(tmp_path / "run" / "journals", f"md.trades.{symbol.replace('/', '')}")
        ]
        assert got
        assert got == raw[: len(got)]


@pytest.mark.full
def test_a_feed_that_was_killed_is_seen_by_whoever_listens_to_it(tmp_path: Path) -> None:
    def seen(name: str) -> bool:
        report = fleet.health(name)
        return any(key.startswith(FEED) for key in (*report.get("restarts", ()), *report.get("lost", ())))

    listeners = ("ohlcv_aggregator", "risk_engine")
    with KillableServer() as server, Processes(server.url, tmp_path / "run", busy_installation(tmp_path)) as fleet:
        fleet.start_ready(*listeners)
        fleet.start(FEED, *SYNTHETIC.options)
        trades = fleet.journals / "md.trades.BTCUSDT.ndjson"
        wait_until(lambda: trades.exists() and trades.stat().st_size > 20_000, what="trades are journaled")
        assert not any(seen(name) for name in listeners)

        fleet.kill(FEED)
        fleet.start(FEED, *SYNTHETIC.options)

        for name in listeners:
            wait_until(lambda: seen(name), what=f"{name} sees it")  # noqa: B023 — called at once
        assert set(fleet.stop().values()) == {0}
    assert_hold(tmp_path / "run", settled=False)
