"""The fleet as separate processes over a real server, on recorded data: what one process writes, and no less."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from apps.fleet.session import Session, written
from apps.md_ingest.source import open_offline
from tests.support import captures
from tests.support.fleet_config import busy_installation, config_in
from tests.support.invariants import assert_hold, journal, waiting
from tests.support.processes import DAEMONS, Processes
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SHORT_S = 50  # of market time: past the end of a minute


def embedded(feed: str, root: Path, folder: Path) -> Session:
    config = config_in(folder, root)
    session = Session(config, open_offline(feed, config), durable=False)
    asyncio.run(session.run())
    return session


def assert_lock_step_repeats(feed: str, tmp_path: Path, timeout_s: float) -> None:
    root = busy_installation(tmp_path)
    session = embedded(feed, root, tmp_path / "one")
    with RedisServer() as server, Processes(server.url, tmp_path / "many", root) as fleet:
        for name in DAEMONS:
            fleet.start(name, "--lockstep")
        fleet.start("md_ingest", "--feed", feed, "--lockstep")
        for name in ("md_ingest", *DAEMONS):
            assert fleet.exit_code(name, timeout_s) == 0, fleet.stderr(name)
    assert session.venue.account().fees_paid > 0
    one, many = (
        {path.relative_to(folder): path.read_bytes() for path in written(folder)}
        for folder in (tmp_path / "one", tmp_path / "many")
    )
    assert sorted(many) == sorted(one)
    assert [str(name) for name in one if many[name] != one[name]] == []
    assert_hold(tmp_path / "many")


@pytest.mark.full
def test_lock_step_processes_write_what_one_process_writes(recorded_data: Path, tmp_path: Path) -> None:
    short = captures.shortened(captures.recorded(recorded_data), tmp_path / "captures", SHORT_S)

    assert_lock_step_repeats(captures.feed_of(short), tmp_path, 150)


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_lock_step_processes_write_what_one_process_writes_over_the_whole_captures(
    recorded_data: Path, tmp_path: Path
) -> None:
    assert_lock_step_repeats(captures.feed_of(captures.recorded(recorded_data)), tmp_path, 1_100)


@pytest.mark.full
def test_at_full_speed_nothing_is_lost_and_every_order_is_accounted_for(recorded_data: Path, tmp_path: Path) -> None:
    feed = captures.recorded(recorded_data)
    with RedisServer() as server, Processes(server.url, tmp_path / "run", busy_installation(tmp_path)) as fleet:
        fleet.start_ready(*DAEMONS)
        fleet.start("md_ingest", "--feed", captures.feed_of(feed))
        assert fleet.exit_code("md_ingest", 60) == 0, fleet.stderr("md_ingest")
        wait_until(lambda: not waiting(fleet.folder), what="the fleet comes to rest")
        assert fleet.stop() == dict.fromkeys((*DAEMONS, "md_ingest"), 0)

    assert_hold(tmp_path / "run")
    journals = tmp_path / "run" / "journals"
    for symbol, path in feed.items():
        got = [line["trade_id"] for line in journal(journals, f"md.trades.{symbol.replace('/', '')}")]
        assert got == [trade.trade_id for trade in captures.trades_of(path)]
    assert len(journal(journals, "strat.intent")) > 20  # how many depends on the pace
    assert len(journal(journals, "fills.BTCUSDT")) > 0
