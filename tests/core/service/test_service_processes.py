"""A daemon as its operator meets it: asked for its health, started twice, reloaded, without Redis, a bad ledger."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import codec
from core.codec import Meta
from core.config.record import recorded_configs
from core.contracts import ClockTick, OrderIntent, TradeEvent
from core.journal import JournalReader
from core.ledger import Cause, Ledger, ledger
from tests.conftest import ROOT
from tests.support.processes import Processes
from tests.support.redis_server import spare_port
from tests.support.waiting import patience, wait_until

NOWHERE = "redis://:hunter2@127.0.0.1:1/0"
SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


class Daemon:
    """One risk engine with a configuration of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "installation" / "config"
        shutil.copytree(ROOT / "config", self.config)
        self.processes = Processes(url, folder / "run")
        self.port = spare_port()

    def start(self, name: str = "risk_engine", port: int | None = None) -> subprocess.Popen[bytes]:
        options = ["--config-root", str(self.config.parent), "--port", str(self.port if port is None else port)]
        return self.processes.start(name, *options)

    def ask(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=patience(5)) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def await_ready(self) -> None:
        wait_until(lambda: self.ask("/health/readiness")[0] == 200)

    def report(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask("/health")[1])
        return answer

    def said(self, name: str = "risk_engine") -> str:
        return self.processes.stderr(name)

    def edit(self, old: str, new: str) -> None:
        path = self.config / "base.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@pytest.fixture
def daemon(redis_url: str, tmp_path: Path) -> Iterator[Daemon]:
    made = Daemon(redis_url, tmp_path)
    with made.processes:
        yield made


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon without Redis."""
    made = Daemon(NOWHERE, tmp_path)
    with made.processes:
        yield made


def book(daemon: Daemon, count: int = 3) -> Path:
    """A ledger that an earlier run left."""
    path = daemon.processes.ledgers / "risk_engine.ndjson"
    written = Ledger(path)
    for number in range(1, count + 1):
        cause = Cause(
            "strategy_runner", f"{number}-0", "strat.intent", OrderIntent("s", "BTC/USDT", "buy", "market", 1.0)
        )
        written.append(NOW, cause, [], "an intent of yesterday")
    written.close()
    return path


def no_traceback(text: str) -> bool:
    return "Traceback" not in text


# ---- health and metrics


def test_a_running_daemon_answers_for_its_health_and_metrics(daemon: Daemon) -> None:
    process = daemon.start()
    daemon.await_ready()
    assert daemon.ask("/health/liveness") == (200, '{"alive":true}')
    assert daemon.ask("/health/readiness") == (200, '{"ready":true,"waiting_for":""}')
    report = daemon.report()
    assert (report["daemon"], report["pid"], report["alive"], report["ready"]) == (
        "risk_engine",
        process.pid,
        True,
        True,
    )
    status, text = daemon.ask("/metrics")
    assert status == 200
    assert 'njord_ledger_transactions_total{daemon="risk_engine"} 0.0' in text
    assert daemon.ask("/nothing")[0] == 404
    assert daemon.processes.stop() == {"risk_engine": 0}


# ---- Redis absent


def test_without_redis_a_daemon_waits_says_so_without_the_password_and_still_stops_at_once(lonely: Daemon) -> None:
    process = lonely.start()
    wait_until(lambda: 'waiting_for":"Redis' in lonely.ask("/health/readiness")[1])
    status, text = lonely.ask("/health/readiness")
    assert (status, json.loads(text)) == (503, {"ready": False, "waiting_for": "Redis at redis://***@127.0.0.1:1/0"})
    assert lonely.ask("/health/liveness")[0] == 200
    wait_until(lambda: "does not answer" in lonely.said())
    process.send_signal(signal.SIGTERM)
    assert process.wait(patience(5)) == 0
    said = lonely.said()
    assert "Start it, or set redis.url in config/base.yaml" in said
    assert "hunter2" not in said + text + (lonely.folder / "run" / "app.ndjson").read_text()
    assert ".. " not in said
    assert no_traceback(said)


# ---- a second copy


@pytest.mark.full
def test_a_second_copy_is_refused_by_the_ledgers_lock(lonely: Daemon) -> None:
    lonely.processes.running["first"] = lonely.start()
    wait_until(lambda: lonely.ask("/health/liveness")[0] == 200)
    second = lonely.start(port=0)
    assert second.wait(patience(20)) == 1
    path = lonely.processes.ledgers / "risk_engine.ndjson"
    assert any(
        f"risk_engine: {path} is being written by another process" in line for line in lonely.said().splitlines()
    )
    assert f"fuser {path}" in lonely.said()
    assert no_traceback(lonely.said())


@pytest.mark.full
def test_a_taken_port_is_named_with_the_key_to_set(lonely: Daemon) -> None:
    lonely.start()
    wait_until(lambda: lonely.ask("/health/liveness")[0] == 200)
    assert lonely.start("paper_trader").wait(patience(20)) == 1
    said = lonely.said("paper_trader")
    assert f"paper_trader: cannot listen on 127.0.0.1:{lonely.port}" in said
    assert "set services.base_port in config/base.yaml" in said
    assert no_traceback(said)


# ---- reload


@pytest.mark.full
def test_a_good_configuration_is_taken_over_on_sighup_and_a_bad_one_is_refused(daemon: Daemon) -> None:
    from redis import Redis

    process = daemon.start()
    daemon.await_ready()
    redis = Redis.from_url(daemon.processes._environ["NJORD_REDIS__URL"])

    def ask_for(number: int) -> dict[str, Any]:
        """Send a trade and an intent of 600 dollars; the decision."""
        trade = TradeEvent("BTC/USDT", 60_000.0, 1.0, "buy", NOW + number * SECOND)
        redis.publish("md.trades.BTC/USDT", codec.encode_message(trade, Meta("md_ingest", number)))
        tick = ClockTick(NOW + number * SECOND)
        redis.publish("md.clock", codec.encode_message(tick, Meta("md_ingest", number)))
        wait_until(lambda: daemon.report()["market_time_ns"] >= NOW + number * SECOND)
        intent = OrderIntent(
            "s", "BTC/USDT", "buy", "market", 0.01, intent_id=f"i{number}", ts_local_ns=NOW + number * SECOND
        )
        wire = codec.encode_message(intent, Meta("strategy_runner", number))
        redis.xadd("njord:ledger:strategy_runner", {"t": "strat.intent", "e": wire}, id=f"{number}-0")
        wait_until(lambda: daemon.report()["transactions"] >= number)
        lines = JournalReader(daemon.processes.journals).lines("risk.decisions")
        found: dict[str, Any] = [codec.decode_plain(line) for line in lines][-1]
        assert found["intent_id"] == f"i{number}"
        return found

    assert ask_for(1)["allowed"]
    daemon.edit("per_order_usd_cap: 5_000", "per_order_usd_cap: 500")
    daemon.edit("participation: 0.5", "participation: 0.25")  # which this daemon does not put in force
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in daemon.said())
    assert ask_for(2)["code"] == "PER_ORDER_CAP"
    *_, record = recorded_configs(daemon.processes.journals)
    assert (record.shown["risk"]["per_order_usd_cap"], record.shown["paper"]["participation"]) == (500.0, 0.5)
    daemon.edit("per_order_usd_cap: 500", "per_order_usd_cap: -1")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in daemon.said())
    assert "the old one stays in force: " in daemon.said()
    assert "risk.per_order_usd_cap: expected a number greater than 0, got -1" in daemon.said()
    assert ask_for(3)["reason"].startswith("PER_ORDER_CAP: notional=600.00 cap=500.00")
    redis.close()
    assert daemon.processes.stop() == {"risk_engine": 0}


@pytest.mark.full
def test_strategies_are_reloaded_on_sighup_and_bad_ones_leave_the_old_running(daemon: Daemon) -> None:
    process = daemon.start("strategy_runner")
    daemon.await_ready()
    path = daemon.config / "strategies.yaml"
    good = path.read_text()
    path.write_text(good.replace("class: strategies.samples.rsi_tema_bb.RsiTemaBb", "klass: x"))
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in daemon.said("strategy_runner"))
    assert "did you mean strategies[2].class?" in daemon.said("strategy_runner")
    path.write_text(good)
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in daemon.said("strategy_runner"))
    assert daemon.ask("/health")[0] == 200
    assert no_traceback(daemon.said("strategy_runner"))


@pytest.mark.full
def test_a_daemon_with_nothing_to_reload_says_so_and_lives(daemon: Daemon) -> None:
    process = daemon.start("paper_trader")
    daemon.await_ready()
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "takes a restart" in daemon.said("paper_trader"))
    assert daemon.ask("/health")[0] == 200


# ---- the ledger


@pytest.mark.full
def test_a_ledger_edited_by_hand_refuses_the_start_and_the_command_line_says_the_same(lonely: Daemon) -> None:
    path = book(lonely)
    path.write_bytes(path.read_bytes().replace(b'"2-0"', b'"9-0"'))
    assert lonely.start().wait(patience(20)) == 1
    (said,) = lonely.said().splitlines()
    told = f"{path}:2: the line does not match its own hash. "
    assert said.startswith(f"risk_engine: {told}")
    assert "Restore risk_engine.ndjson from a backup" in said
    checked = subprocess.run(
        [sys.executable, "-m", "controller", "ledger", "verify", str(path)], cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=patience(30),
    )  # fmt: skip
    assert checked.returncode == 4
    assert told in checked.stderr + checked.stdout


def test_a_torn_last_line_is_told_and_set_aside_and_the_daemon_goes_on(lonely: Daemon) -> None:
    path = book(lonely)
    good = path.read_bytes()
    path.write_bytes(good + b'{"seq":4,"ts_')
    lonely.start()
    wait_until(lambda: "recovered 3 transactions" in lonely.said())
    assert f"torn last line of {path}: 13 bytes moved aside to {path}.torn" in lonely.said()
    lonely.processes.stop()
    assert path.read_bytes() == good
    assert ledger.verify(path).transactions == 3


# ---- the bus


def spoilt(price: bytes = b"1", qty: bytes = b"1", ts: bytes = b"5", more: bytes = b"") -> bytes:
    """A trade as somebody else may write it."""
    return b'{"symbol":"BTC/USDT","price":%b,"qty":%b,"side":"buy","ts":%b%b}' % (price, qty, ts, more)


TRADES = "md.trades.BTC/USDT"
BAD = [
    (TRADES, b'{"symbol":"BTC/USDT","price":1', "truncated"),
    (TRADES, b"not json", "malformed"),
    (TRADES, b"[" * 100_000, "Expected `object`"),
    (TRADES, spoilt(price=b"NaN"), "malformed"),
    (TRADES, spoilt(price=b"-1"), "above 0, got -1"),
    (TRADES, spoilt(qty=b"-1"), "above 0, got -1"),
    (TRADES, spoilt(more=b',"x":1'), "unknown field x"),
    (TRADES, spoilt(ts=b"1" + b"0" * 30), "2^63-1"),
    (TRADES, spoilt(more=b',"_producer":"\x80","_seq":1'), "expected a JSON object"),
    ("md.clock", b'{"ts":0}', "above 0"),
]


def test_bad_messages_on_the_bus_are_counted_journaled_and_cost_nothing_else(daemon: Daemon) -> None:
    from redis import Redis

    daemon.start()
    daemon.await_ready()
    redis = Redis.from_url(daemon.processes._environ["NJORD_REDIS__URL"])
    stream = "njord:ledger:strategy_runner"
    for topic, raw, _ in BAD:
        redis.publish(topic, raw)
    redis.xadd(stream, {"t": "strat.intent", "e": b'{"strategy_id":'}, id="1-0")
    redis.xadd(stream, {"t": "fills.new", "e": b"{}"}, id="2-0")
    redis.xadd(stream, {"x": "y"}, id="3-0")
    deep = b'{"strategy_id":"s","symbol":"BTC/USDT","side":"buy","type":"market","qty":1,"meta":{"a":%b}}'
    redis.xadd(stream, {"t": "strat.intent", "e": deep % (b"[" * 900 + b"]" * 900)}, id="4-0")
    wait_until(lambda: sum(daemon.report()["errors"].values()) >= len(BAD) + 4)
    good = OrderIntent("s", "BTC/USDT", "buy", "market", 0.01, intent_id="i5", ts_local_ns=NOW)
    redis.xadd(stream, {"t": "strat.intent", "e": codec.encode_message(good, Meta("strategy_runner", 5))}, id="5-0")
    wait_until(lambda: daemon.report()["transactions"] >= 5)
    metrics = daemon.ask("/metrics")[1]
    assert f'njord_errors_total{{daemon="risk_engine",error="RejectedError"}} {len(BAD) + 4}.0' in metrics
    assert daemon.processes.stop() == {"risk_engine": 0}
    redis.close()
    rejected = [
        codec.decode_plain(line) for line in JournalReader(daemon.processes.journals).lines("rejected.risk_engine")
    ]
    assert len(rejected) == len(BAD) + 4
    for topic, _, told in BAD:
        assert any(each["event"]["topic"] == topic and told in each["reason"] for each in rejected), told
    assert any("fills.new comes from paper_trader, not from strategy_runner" in each["reason"] for each in rejected)
    decisions = [codec.decode_plain(line) for line in JournalReader(daemon.processes.journals).lines("risk.decisions")]
    assert [each["intent_id"] for each in decisions] == ["i5"]
    assert no_traceback(daemon.said())
