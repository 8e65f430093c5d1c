"""Processes that are killed, stopped and halted in the middle of a replay, and a server that comes and goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import captures
from tests.support.fleet_config import busy_installation
from tests.support.invariants import assert_hold, journal, waiting
from tests.support.processes import DAEMONS, Processes
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

SHORT_S = 40
SPEED = "3x"  # two minutes: what is done in the middle has to be done before the end, on a busy machine too


@pytest.fixture
def feed(recorded_data: Path) -> str:
    """The captures as they are, for a test that ends the feed when it has seen enough."""
    return captures.feed_of(captures.recorded(recorded_data))


@pytest.fixture
def short_feed(recorded_data: Path, tmp_path: Path) -> str:
    """The beginning of the captures, for a test that lets the feed run to its end."""
    return captures.feed_of(captures.shortened(captures.recorded(recorded_data), tmp_path / "captures", SHORT_S))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return busy_installation(tmp_path / "installation")


def count(fleet: Processes, stream: str, holds: Callable[[dict[str, object]], bool] = lambda _: True) -> int:
    """The complete lines of a journal that is being written, of those that hold."""
    path = fleet.journals / f"{stream}.ndjson"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return sum(1 for line in lines if holds(json.loads(line)))


def end_feed(fleet: Processes) -> None:
    """End the feed in the middle: what was to happen before its end did."""
    assert fleet.running["md_ingest"].poll() is None, "the feed came to its end before the test"
    fleet.running["md_ingest"].terminate()


def finish(fleet: Processes, feed: str, *, complete: bool = True) -> None:
    """Wait for the feed to end and the fleet to come to rest, stop it, and look at everything it wrote.

    Unless ``complete``, the feed was ended in the middle and has journaled a first part of the capture.
    """
    assert fleet.exit_code("md_ingest") == 0, fleet.stderr("md_ingest")
    wait_until(lambda: not waiting(fleet.folder), what="the fleet comes to rest")
    assert set(fleet.stop().values()) == {0}
    assert_hold(fleet.folder)
    for path in feed.split(","):
        raw = captures.trades_of(Path(path))
        symbol = "BTCUSDT" if "btc" in path else "ETHUSDT"
        got = [line["trade_id"] for line in journal(fleet.journals, f"md.trades.{symbol}")]
        expected = [trade.trade_id for trade in raw]
        assert got == (expected if complete else expected[: len(got)])
        assert got


@pytest.mark.full
def test_killed_in_the_middle_and_started_again_nothing_is_lost_or_done_twice(
    feed: str, root: Path, tmp_path: Path
) -> None:
    with RedisServer() as server, Processes(server.url, tmp_path / "run", root) as fleet:
        fleet.start_ready(*DAEMONS)
        fleet.start("md_ingest", "--feed", feed, "--speed", SPEED)
        for name, stream, enough in (("risk_engine", "risk.decisions", 5), ("paper_trader", "orders.updates", 60)):
            wait_until(lambda: count(fleet, stream) > enough, what=f"{name} is at work")  # noqa: B023 — called at once
            before = count(fleet, stream)
            fleet.kill(name)
            fleet.start(name)
            wait_until(lambda: count(fleet, stream) > before, what=f"{name} goes on")  # noqa: B023 — called at once
        end_feed(fleet)
        finish(fleet, feed, complete=False)


@pytest.mark.full
def test_stopped_in_the_middle_every_daemon_ends_well_with_whole_files(feed: str, root: Path, tmp_path: Path) -> None:
    with RedisServer() as server, Processes(server.url, tmp_path / "run", root) as fleet:
        fleet.start_ready(*DAEMONS)
        fleet.start("md_ingest", "--feed", feed, "--speed", SPEED)
        wait_until(lambda: count(fleet, "orders.updates") > 40, what="the fleet is at work")

        codes = fleet.stop()

    assert codes == dict.fromkeys((*DAEMONS, "md_ingest"), 0)
    assert_hold(fleet.folder, settled=False)
    assert all(path.read_bytes().endswith(b"\n") for path in fleet.folder.glob("*/*.ndjson"))
    trades = captures.trades_of(Path(feed.split(",")[0]))
    got = [line["trade_id"] for line in journal(fleet.journals, "md.trades.BTCUSDT")]
    assert 0 < len(got) < len(trades)
    assert got == [trade.trade_id for trade in trades[: len(got)]]


@pytest.mark.full
def test_the_kill_switch_halts_a_running_fleet_and_lets_it_go_on(feed: str, root: Path, tmp_path: Path) -> None:
    def halted(decision: dict[str, object]) -> bool:
        return decision["reason"] == "halted"

    with RedisServer() as server, Processes(server.url, tmp_path / "run", root) as fleet:
        fleet.start_ready(*DAEMONS)
        fleet.start("md_ingest", "--feed", feed, "--speed", SPEED)
        wait_until(lambda: count(fleet, "orders.updates") > 40, what="the fleet is at work")
        fleet.killswitch.touch()
        wait_until(lambda: count(fleet, "risk.decisions", halted) > 3, what="intents are denied")
        fleet.killswitch.unlink()
        after = count(fleet, "orders.accepted")
        wait_until(lambda: count(fleet, "orders.accepted") > after, what="trading goes on")
        end_feed(fleet)
        finish(fleet, feed, complete=False)

        states = [line["state"] for line in journal(fleet.journals, "risk.state")]
        assert states == ["HALTED", "ACTIVE"]


def test_the_kill_switch_halts_a_fleet_that_nothing_happens_in(root: Path, tmp_path: Path) -> None:
    with RedisServer() as server, Processes(server.url, tmp_path / "run", root) as fleet:
        fleet.start_ready("risk_engine", "paper_trader")
        fleet.killswitch.touch()
        wait_until(lambda: count(fleet, "risk.state") == 1, 5, what="the halt is on record")
        fleet.killswitch.unlink()
        wait_until(lambda: count(fleet, "risk.state") == 2, 5, what="its end is on record")
        fleet.stop()

    assert [line["state"] for line in journal(fleet.journals, "risk.state")] == ["HALTED", "ACTIVE"]
    assert_hold(fleet.folder)


@pytest.mark.full
def test_without_redis_the_fleet_waits_says_so_and_starts_when_it_comes(
    short_feed: str, root: Path, tmp_path: Path
) -> None:
    with RedisServer() as server, Processes(server.url, tmp_path / "run", root) as fleet:
        server.stop()
        fleet.start("md_ingest", "--feed", short_feed)
        for name in DAEMONS:
            fleet.start(name)
        for name in DAEMONS:
            wait_until(lambda: fleet.health(name).get("waiting_for"), what=f"{name} waits")  # noqa: B023 — called at once
            assert not fleet.health(name)["ready"]
            assert fleet.health(name)["waiting_for"] == f"Redis at {server.url}"
            wait_until(lambda: "does not answer" in fleet.stderr(name), what=f"{name} says so")  # noqa: B023 — called at once
            assert f"Redis at {server.url} does not answer" in fleet.stderr(name)
        assert not list(fleet.journals.glob("md.*"))

        server.start()

        for name in DAEMONS:
            fleet.wait_ready(name)
        finish(fleet, short_feed)


@pytest.mark.full
def test_without_redis_a_daemon_still_ends_at_once_when_told(root: Path, tmp_path: Path) -> None:
    with RedisServer() as server, Processes(server.url, tmp_path / "run", root) as fleet:
        server.stop()
        for name in ("risk_engine", "ohlcv_aggregator"):
            fleet.start(name)
            wait_until(lambda: "does not answer" in fleet.stderr(name), what=f"{name} waits")  # noqa: B023 — called at once
        for name in fleet.running:
            fleet.running[name].terminate()
            assert fleet.exit_code(name, 5) == 0


@pytest.mark.full
def test_a_server_that_dies_and_forgets_everything_costs_nothing_on_record(
    feed: str, root: Path, tmp_path: Path
) -> None:
    with RedisServer() as server, Processes(server.url, tmp_path / "run", root) as fleet:
        fleet.start_ready(*DAEMONS)
        fleet.start("md_ingest", "--feed", feed, "--speed", SPEED)
        wait_until(lambda: count(fleet, "orders.updates") > 40, what="the fleet is at work")
        server.kill()
        trades = count(fleet, "md.trades.BTCUSDT")
        wait_until(lambda: count(fleet, "md.trades.BTCUSDT") > trades + 50, what="the feed goes on recording")
        server.start()
        accepted = count(fleet, "orders.accepted")
        wait_until(lambda: count(fleet, "orders.accepted") > accepted, what="trading goes on")
        end_feed(fleet)
        finish(fleet, feed, complete=False)


@pytest.mark.full
def test_what_a_forgetful_server_held_for_a_daemon_that_was_down_is_sent_again(
    short_feed: str, root: Path, tmp_path: Path
) -> None:
    with RedisServer() as server, Processes(server.url, tmp_path / "run", root) as fleet:
        fleet.start_ready("strategy_runner", "paper_trader")
        fleet.start("md_ingest", "--feed", short_feed)
        assert fleet.exit_code("md_ingest") == 0, fleet.stderr("md_ingest")
        wait_until(lambda: count(fleet, "strat.intent") > 2, what="intents wait for the risk engine")
        server.kill()
        server.start()  # empty, and nobody has anything new to say
        fleet.start_ready("risk_engine")
        finish(fleet, short_feed)
