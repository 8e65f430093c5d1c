"""The watch over the kill switch: every change is logged once, by every daemon, and shown on its health page."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from core import kill_switch
from core.bus import RedisBus
from core.daemons import BEHIND_THE_FEED
from core.service.kill_watch import KillSwitchWatch
from tests.support.processes import Processes
from tests.support.waiting import wait_until

KEY = "njord:kill_switch"


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "njord.kill_switch"]


def test_a_trip_and_a_clearance_are_logged_once_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "killswitch"
    watch = KillSwitchWatch(str(path))

    watch.check_file(1)
    kill_switch.trip_file(path)
    tripped = [watch.check_file(2), watch.check_file(3)]
    kill_switch.clear_file(path)
    cleared = [watch.check_file(4), watch.check_file(5)]

    assert [event.tripped for event in (*tripped, *cleared) if event is not None] == [True, False]
    assert messages(caplog) == [
        f"the kill switch is tripped by file {path}: nothing is traded until it is cleared",
        "the kill switch is cleared: trading goes on",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_start_under_a_tripped_switch_says_so_though_the_component_knows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "killswitch"
    kill_switch.trip_file(path)
    watch = KillSwitchWatch(str(path))
    watch.reported = True  # as its ledger says

    change = watch.check_file(1)

    assert change is None
    assert watch.tripped
    assert len(messages(caplog)) == 1


async def test_the_key_that_takes_over_from_the_file_is_named(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from redis.asyncio import Redis

    path = tmp_path / "killswitch"
    bus = RedisBus(redis_url)
    watch = KillSwitchWatch(str(path), bus, KEY)
    client = Redis.from_url(redis_url)
    kill_switch.trip_file(path)
    await watch.check(1)
    await client.set(KEY, "1")
    kill_switch.clear_file(path)

    change = await watch.check(2)

    assert change is None, "it is as tripped as before"
    assert watch.source == f"key {KEY}"
    assert len(messages(caplog)) == 2
    await client.delete(KEY)
    await client.aclose()
    await bus.close()


@pytest.mark.full
def test_every_daemon_of_a_fleet_logs_the_trip_and_shows_it(redis_url: str, tmp_path: Path) -> None:
    with Processes(redis_url, tmp_path / "run") as fleet:
        fleet.start_ready(*BEHIND_THE_FEED)
        assert {fleet.health(name)["kill_switch"] for name in BEHIND_THE_FEED} == {""}

        kill_switch.trip_file(fleet.killswitch)

        tripped = f"file {fleet.killswitch}"
        wait_until(lambda: {fleet.health(name)["kill_switch"] for name in BEHIND_THE_FEED} == {tripped}, what="shown")
        for name in BEHIND_THE_FEED:
            assert f"the kill switch is tripped by {tripped}" in fleet.stderr(name), name
