"""Sessions of separate processes over Redis: in lock-step the replay is the same; left to themselves, what they did
otherwise is told in its class, never hidden."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from backtest.parity.compare import Kind, compare, session_event_log
from backtest.parity.session_replay import replay_session
from core.config import Config
from tests.support.backtests.parity_sessions import ledgers_of
from tests.support.fleet_config import busy_installation, config_in
from tests.support.processes import DAEMONS, Processes
from tests.support.redis_server import RedisServer

FEED = "synthetic:5:1"


def session(folder: Path, *options: str) -> Config:
    root = busy_installation(folder / "root")
    with RedisServer() as server, Processes(server.url, folder / "run", root) as fleet:
        if "--lockstep" in options:
            for name in DAEMONS:
                fleet.start(name, "--lockstep")
        else:
            fleet.start_ready(*DAEMONS)
        fleet.start("md_ingest", "--feed", FEED, *options)
        assert fleet.exit_code("md_ingest", 150) == 0, fleet.stderr("md_ingest")
        if "--lockstep" in options:
            for name in DAEMONS:
                assert fleet.exit_code(name, 20) == 0, fleet.stderr(name)
    return config_in(folder / "run", root)


@pytest.mark.full
def test_a_session_of_processes_in_lock_step_is_replayed_to_the_byte(tmp_path: Path) -> None:
    config = session(tmp_path, "--lockstep")

    again = replay_session(tmp_path / "run", config, tmp_path / "again")
    found = compare(session_event_log(tmp_path / "run", config), again.event_log())

    assert found.volume_a.fills > 20
    assert found.differences == ()
    assert ledgers_of(tmp_path / "again") == ledgers_of(tmp_path / "run")


@pytest.mark.full
def test_what_processes_at_their_own_pace_did_otherwise_is_told_by_class_and_adds_up(tmp_path: Path) -> None:
    config = session(tmp_path, "--speed", "20x")

    again = replay_session(tmp_path / "run", config, tmp_path / "again")
    found = compare(session_event_log(tmp_path / "run", config), again.event_log())

    assert again.strayed == (), "the market was the same"
    assert found.volume_a.intents > 20
    assert sum(found.counts.values()) == len(found.differences)
    total = sum(found.parts["USDT"].values(), Decimal(0))
    assert total == found.pnl_b["USDT"] - found.pnl_a["USDT"]
    # Which of it happens is the machine's business; that an order met other trades is what timing does to fills.
    assert {each.kind for each in found.differences} <= set(Kind)
