"""A daemon that cannot go on says so: whatever of it fails, beside the work too, ends it with that error."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from core import codec
from core.bus import RedisBus
from core.clock import NS_PER_S
from core.codec import encode
from core.contracts import Contract, OrderEvent, TradeEvent
from core.errors import ConfigError, FeedError
from core.journal import JournalReader
from core.service.daemon import Service
from core.service.feed_source import Source
from core.service.host import ComponentHost, JournalSet
from core.service.settings import ServiceSettings
from tests.support.processes import Processes
from tests.support.waiting import patience, wait_until

NOW = 1_700_000_000 * NS_PER_S


class Pass:
    name = "md_ingest"

    def on_event(self, event: Contract) -> Sequence[Contract]:
        return (event,)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A service takes the process's signals; give them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def trade(number: int) -> TradeEvent:
    return TradeEvent("BTC/USDT", 60_000.0, 1.0, "buy", NOW + number, str(number))


async def broken_feed() -> AsyncIterator[Contract]:
    yield trade(1)
    yield trade(2)
    raise FeedError("the venue went silent")


async def short_feed() -> AsyncIterator[Contract]:
    yield trade(1)


def service(url: str, folder: Path, events: AsyncIterator[Contract], **settings: float) -> Service:
    host = ComponentHost(Pass(), JournalSet(folder))
    return Service(host, RedisBus(url), ServiceSettings(**settings), source=Source(events))  # type: ignore[arg-type]


async def test_a_feed_that_fails_ends_the_daemon_with_its_error_and_loses_nothing_before(
    redis_url: str, tmp_path: Path
) -> None:
    with pytest.raises(FeedError, match="the venue went silent"):
        await service(redis_url, tmp_path, broken_feed()).run()
    assert list(JournalReader(tmp_path).lines("md.trades.BTCUSDT")) == [encode(trade(1)), encode(trade(2))]


async def test_a_feed_that_ends_ends_the_daemon_in_peace(redis_url: str, tmp_path: Path) -> None:
    await service(redis_url, tmp_path, short_feed()).run()
    assert list(JournalReader(tmp_path).lines("md.trades.BTCUSDT")) == [encode(trade(1))]


async def test_a_task_beside_the_work_that_fails_ends_the_daemon_with_its_error(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent() -> AsyncIterator[Contract]:
        import asyncio

        await asyncio.Event().wait()
        yield trade(1)

    running = service(redis_url, tmp_path, silent(), heartbeat_s=0.01, drain_s=0.1)

    def fail() -> dict[str, object]:
        raise RuntimeError("the report is broken")

    monkeypatch.setattr(running, "report", fail)
    with pytest.raises(RuntimeError, match="the report is broken"):
        await running.run()


async def test_a_taken_port_is_a_configuration_error(redis_url: str, tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .* services\.base_port"):
            await service(redis_url, tmp_path, short_feed(), port=port).run()


@pytest.mark.full
def test_a_torn_market_data_journal_is_mended_and_the_feed_goes_on_behind_its_last_whole_trade(
    redis_url: str, tmp_path: Path
) -> None:
    recording = tmp_path / "recording.ndjson"
    recording.write_bytes(b"".join(encode(trade(number)) + b"\n" for number in range(1, 21)))
    path = tmp_path / "run" / "journals" / "md.trades.BTCUSDT.ndjson"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(encode(trade(number)) + b"\n" for number in range(1, 11)) + b'{"symbol":"BTC')
    with Processes(redis_url, tmp_path / "run") as processes:
        process = processes.start("md_ingest", "--feed", str(recording))
        assert process.wait(patience(30)) == 0, processes.stderr("md_ingest")
        said = processes.stderr("md_ingest")
    assert f"torn last line of {path}: 14 bytes moved aside to {path}.torn" in said
    assert "journaled_already 10, trades 10" in said
    assert path.read_bytes() == recording.read_bytes()
    assert path.with_name(path.name + ".torn").read_bytes() == b'{"symbol":"BTC\n'


@pytest.mark.full
def test_a_message_that_makes_a_component_fail_is_no_reason_to_stop(redis_url: str, tmp_path: Path) -> None:
    """The paper trader gets an order with a forged decision off the bus: refused, told, and it lives."""
    from redis import Redis

    forged = OrderEvent("i1", "paper", "BTC/USDT", "buy", "market", 1.0, NOW, order_id="o-1", strategy_id="s")
    with Processes(redis_url, tmp_path) as processes, Redis.from_url(redis_url) as redis:
        processes.start_ready("paper_trader")
        wire = codec.encode_message(forged, codec.Meta("risk_engine", 1))
        redis.xadd("njord:ledger:risk_engine", {"t": "orders.accepted", "e": wire}, id="1-0")
        wait_until(lambda: processes.health("paper_trader").get("transactions", 0) >= 1)
        assert processes.health("paper_trader")["alive"]
        processes.stop()
    lines = JournalReader(tmp_path / "journals").lines("rejected.paper_trader")
    (refused,) = [codec.decode_plain(line) for line in lines]
    assert "NO_RISK_DECISION: expected the decision that allowed i1, got none" in refused["reason"]
    assert not list((tmp_path / "journals").glob("orders.updates*"))
    assert not list((tmp_path / "journals").glob("fills.*"))


def test_why_a_daemon_ended_stands_in_the_log_too(tmp_path: Path) -> None:
    path = tmp_path / "ledgers" / "risk_engine.ndjson"
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"seq":1}\n')
    with Processes("redis://127.0.0.1:1/0", tmp_path) as processes:
        processes.start("risk_engine")
        assert processes.exit_code("risk_engine") == 1
        said = processes.stderr("risk_engine")
    last = codec.decode_plain((tmp_path / "app.ndjson").read_bytes().splitlines()[-1])
    assert (last["level"], last["service"]) == ("critical", "risk_engine")
    assert f"{path}:1: " in last["event"]
    assert said.count(f"{path}:1: ") == 1
