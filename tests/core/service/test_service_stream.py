"""A daemon watches what Redis holds of its stream: what is missing is sent again, what is foreign ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from core.bus import Bus
from core.contracts import Contract, KillSwitchEvent, OrderIntent
from core.errors import BusUnavailableError, LedgerCorruptError
from core.ledger import Ledger, ledger
from core.service.daemon import Service
from core.service.host import ComponentHost, JournalSet
from core.service.kill_watch import KillSwitchWatch
from core.service.settings import ServiceSettings
from tests.support.waiting import GLANCE_S, interval, until, within


class Quiet:
    name = "strategy_runner"

    def on_event(self, event: Contract) -> Sequence[Contract]:
        return ()


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A service takes the process's signals; give them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def intent(n: int) -> OrderIntent:
    return OrderIntent("s", "BTC/USDT", "buy", "market", 1.0, intent_id=f"i{n}", ts_local_ns=n)


async def both_sent(bus: Bus) -> None:
    while (await bus.newest("strategy_runner"))[0] != (1, 1):
        await interval(GLANCE_S)


def daemon(url: str, folder: Path) -> Service:
    host = ComponentHost(Quiet(), JournalSet(folder), Ledger(folder / "strategy_runner.ndjson"))
    return Service(host, Bus(url), ServiceSettings(), startup_events=[intent(1), intent(2)])


async def test_a_server_emptied_under_a_living_connection_gets_its_entries_back(redis_url: str, tmp_path: Path) -> None:
    running = daemon(redis_url, tmp_path)
    task = asyncio.create_task(running.run())
    other = Bus(redis_url)
    async with within(10):
        await both_sent(other)
        await other.client.flushall()
        await both_sent(other)
    running.stop()
    await task
    await other.close()


async def test_a_foreign_entry_that_bars_the_stream_ends_the_daemon_instead_of_swallowing_what_follows(
    redis_url: str, tmp_path: Path
) -> None:
    task = asyncio.create_task(daemon(redis_url, tmp_path).run())
    other = Bus(redis_url)
    async with within(10):
        await both_sent(other)
        await other.client.xadd(other.stream_key("strategy_runner"), {"t": "x"}, id="99-0")
        with pytest.raises(LedgerCorruptError, match="99"):
            await task
    await other.close()


async def test_a_restart_that_finds_redis_complete_reads_the_ledger_once(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Bus(redis_url)
    for _ in range(2):
        running = daemon(redis_url, tmp_path)
        task = asyncio.create_task(running.run())
        async with within(10):
            await until(lambda: running.report()["ready"])  # noqa: B023 — called at once
        running.stop()
        await task
        assert (await other.newest("strategy_runner"))[0] == running.host.newest_entry
        monkeypatch.setattr(ledger, "messages_after", _not_again)
    await other.close()


def _not_again(*_: object) -> None:
    raise AssertionError("the ledger was read a second time")


class Unanswered(KillSwitchWatch):
    """A key that cannot be read, on a server that answers everything else: no connection is left for it."""

    asked = 0

    async def check(self, now_ns: int) -> KillSwitchEvent | None:
        self.asked += 1
        raise BusUnavailableError("max number of clients reached")


async def test_a_switch_that_cannot_be_read_is_asked_again_with_pauses_and_said(
    redis_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = daemon(redis_url, tmp_path)
    watch = Unanswered(str(tmp_path / "halt"), running.bus, "key")
    running = Service(running.host, running.bus, ServiceSettings(), kill_switch=watch)
    task = asyncio.create_task(running.run())
    async with within(10):
        await until(lambda: watch.asked)
    await asyncio.wait({task}, timeout=0.3)
    running.stop()
    await task
    assert watch.asked < 6
    assert "max number of clients reached" in caplog.text


async def test_a_daemon_whose_ledger_was_deleted_does_not_start(redis_url: str, tmp_path: Path) -> None:
    other = Bus(redis_url)
    await other.client.xadd(other.stream_key("strategy_runner"), {"t": "x"}, id="7-0")
    async with within(10):
        with pytest.raises(LedgerCorruptError, match=r"ends at transaction 0, but Redis has its stream up to 7"):
            await daemon(redis_url, tmp_path).run()
    assert (await other.newest("strategy_runner"))[0] == (7, 0), "nothing was written over what is there"
    await other.close()
