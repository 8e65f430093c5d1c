"""A daemon that is a hundred times too slow for the feed: real processes over a real server with its own defaults.

What reaches it late or never is market data. Memory stays where it is, orders go their way, and what was shed is
counted to the last trade.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.request import urlopen

import pytest
from redis import Redis

from tests.support.fleet_config import busy_installation
from tests.support.processes import DAEMONS, Processes
from tests.support.redis_server import RedisServer
from tests.support.waiting import Deadline, patience, pause, wait_until

SLOW_S = 0.002  # for a trade, of which a daemon takes thousands a second when nobody slows it down
ROOM = 2_000  # broadcasts that may wait for it; what a daemon has is only larger, and takes longer to fill
MOST_GROWTH = 64 << 20  # bytes
LONGEST_S = 3.0  # from an intent to its decision, on a loaded machine; behind everything that waits it takes 8
MINUTES = 40
BETWEEN_LOOKS_S = 0.2  # at the memory of every process


class Decisions:
    """Listens, as a dashboard does, how long each intent waits for its decision."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(url)
        self._asked: dict[str, float] = {}
        self.waits: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="decisions")

    @property
    def waiting(self) -> set[str]:
        return self._asked.keys() - self.waits.keys()

    def _listen(self) -> None:
        with self._client.pubsub(ignore_subscribe_messages=True) as heard:  # type: ignore[no-untyped-call]  # redis-py
            heard.subscribe("strat.intent", "risk.decisions")
            while not self._stop.is_set():
                said = heard.get_message(timeout=0.1)
                if said is None:
                    continue
                intent_id = json.loads(said["data"])["intent_id"]
                if said["channel"] == b"strat.intent":
                    self._asked[intent_id] = time.monotonic()
                else:
                    self.waits[intent_id] = time.monotonic() - self._asked[intent_id]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as running:
        yield running


def memory(pids: Sequence[int]) -> list[int]:
    """Bytes that each process has in memory."""
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids]
    return [count * os.sysconf("SC_PAGE_SIZE") for count in pages]


def metric(url: str, name: str) -> float:
    """The sum of a metric over its labels."""
    with urlopen(f"{url}/metrics", timeout=patience(5)) as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


@pytest.mark.full
@pytest.mark.parametrize("slow", ["risk_engine", "strategy_runner"])
def test_a_daemon_a_hundred_times_too_slow_sheds_market_data_by_count_and_nothing_else(
    server: RedisServer, tmp_path: Path, slow: str
) -> None:
    with Processes(server.url, tmp_path, busy_installation(tmp_path / "installation")) as fleet:
        for daemon in DAEMONS:
            fleet.start(
                daemon, module=("tests.support.kills.slowed", str(SLOW_S), str(ROOM), daemon) if daemon == slow else ()
            )
        for daemon in DAEMONS:
            fleet.wait_ready(daemon)
        pids = [server.pid, *(fleet.running[daemon].pid for daemon in DAEMONS)]
        with Decisions(server.url) as decisions:
            before = peak = memory(pids)
            fleet.start("md_ingest", "--feed", f"synthetic:7:{MINUTES}", "--speed", "max", "--symbol", "BTC/USDT")
            while fleet.running["md_ingest"].poll() is None:
                pause(BETWEEN_LOOKS_S)
                peak = [max(pair) for pair in zip(peak, memory(pids), strict=True)]
            sent = (fleet.journals / "md.trades.BTCUSDT.ndjson").read_bytes().count(b"\n")
            wait_until(lambda: _accounted(fleet, slow) == sent, 20, "every trade is taken, or counted as lost")
            wait_until(lambda: not decisions.waiting, 20, "every intent is decided")

        health = fleet.health(slow)
        assert health["shed"] > sent / 10, "the daemon was not slow enough for this to prove anything"
        assert health["cut_off"] == 0, "the server kept nothing for a process that did not read"
        known = sum(health["lost"].values())
        assert known <= health["shed"], "the first and the last ones of a topic leave no gap between two others"
        assert metric(fleet.url(slow), "njord_broadcasts_shed_total") == health["shed"]
        assert metric(fleet.url(slow), "njord_broadcasts_lost_total") == known
        assert not any(fleet.health(other)["shed"] for other in DAEMONS if other != slow)
        assert len(decisions.waits) > 5
        assert max(decisions.waits.values()) < patience(LONGEST_S)
        grown = [after - at_first for after, at_first in zip(peak, before, strict=True)]
        assert max(grown) < MOST_GROWTH, dict(zip(("server", *DAEMONS), grown, strict=True))
        ending = Deadline(10)
        assert set(fleet.stop().values()) == {0}
        assert not ending.passed, "a daemon that has much to do still ends when told"


def _accounted(fleet: Processes, daemon: str) -> int:
    """The trades that a daemon took, and those that it knows to have missed."""
    health = fleet.health(daemon)
    lost: int = health.get("lost", {}).get("md_ingest:md.trades.BTC/USDT", 0)
    return lost + int(health.get("trades_taken", 0))
