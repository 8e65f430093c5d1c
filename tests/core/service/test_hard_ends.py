"""Ends that are neither orderly nor a kill: what is in memory then must not become what is on disk."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.bus import Bus
from core.component import Component, Message
from core.contracts import Contract, OrderIntent, RiskDecision
from core.disk import Disk
from core.errors import JournalWriteError, LedgerReplacedError
from core.ledger import Ledger, projections, read
from core.ledger import lines as ledger_lines
from core.service.daemon import Service
from core.service.host import ComponentHost, JournalSet
from core.service.settings import ServiceSettings
from core.service.supervisor import Supervisor
from tests.support.waiting import other_tasks, within


class Decides:
    """Denies every intent; one that asks for too much is answered with what no file can hold."""

    name = "risk_engine"

    def __init__(self) -> None:
        self.decided: list[str] = []

    def on_event(self, event: Contract) -> Iterable[Contract]:
        if not isinstance(event, OrderIntent):
            return ()
        self.decided.append(event.intent_id)
        inputs = {"what": object()} if event.qty == 13.0 else {}
        return [RiskDecision(event.intent_id, False, "no", {}, ts_decided_ns=event.ts_ns, inputs=inputs)]

    def recover(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        self.decided += [event.intent_id for event in events if isinstance(event, RiskDecision)]

    def snapshot(self) -> dict[str, Any]:
        return {"decided": list(self.decided)}

    def load_snapshot(self, snapshot: dict[str, Any]) -> None:
        self.decided = list(snapshot["decided"])


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A service takes the process's signals; give them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def decided(host: ComponentHost) -> list[str]:
    assert isinstance(host.component, Decides)
    return host.component.decided


def host(folder: Path, component: Component | None = None, disk: Disk | None = None) -> ComponentHost:
    disk = disk or Disk()
    book = Ledger(folder / "risk_engine.ndjson", disk=disk)
    journals = JournalSet(folder / "journals", disk=disk)
    return ComponentHost(component or Decides(), journals, book, rebuild=Decides)


def intent(number: int, qty: float = 1.0, ledger: str = "a") -> Message:
    event = OrderIntent("s", "A/B", "buy", "market", qty, intent_id=f"i{number}", ts_local_ns=number)
    prev = (number - 1, 0) if number > 1 else (0, 0)
    return Message("strat.intent", event, "strategy_runner", number, (number, 0), prev, ledger)


def test_an_answer_that_cannot_be_written_is_set_aside_and_blocks_nobody(tmp_path: Path) -> None:
    tried = host(tmp_path)
    tried.recover()
    out = [answer for each in (intent(1), intent(2, qty=13.0), intent(3)) for answer in tried.handle(each)]
    tried.commit()

    assert [m.event.intent_id for m in out if isinstance(m.event, RiskDecision)] == ["i1", "i3"]
    assert decided(tried) == ["i1", "i3"], "nothing of what could not be written stays"
    assert [bool(t.note) for t in read(tmp_path / "risk_engine.ndjson")] == [False, True, False]
    assert [alert.severity for alert in tried.alerts] == ["error"]


async def test_a_service_that_fails_leaves_no_snapshot_of_what_is_not_in_its_ledger(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, tried = Bus(redis_url), host(tmp_path)
    await sender.claim("strategy_runner", 1)
    await sender.publish([intent(1), intent(2)])
    append = Ledger.append

    def broken(self: Ledger, *rest: Any) -> int:
        if self.name == "risk_engine" and self.seq == 1:
            raise MemoryError
        return append(self, *rest)

    monkeypatch.setattr(Ledger, "append", broken)
    async with within(10):
        with pytest.raises(MemoryError):
            await Service(tried, Bus(redis_url), ServiceSettings()).run()
    monkeypatch.setattr(Ledger, "append", append)
    await sender.close()

    again = host(tmp_path)
    again.recover()
    recorded = [t.cause.id for t in read(tmp_path / "risk_engine.ndjson")]
    assert decided(again) == [f"i{each.partition('-')[0]}" for each in recorded]
    assert again.consumed.get("strategy_runner", (0, 0)) == (len(recorded), 0), "what was not recorded comes again"


async def test_a_stream_that_another_ledger_continues_stops_its_consumer_though_nothing_fits(
    redis_url: str, tmp_path: Path
) -> None:
    first = host(tmp_path)
    first.recover()
    first.handle(intent(1))
    first.close()
    other = Bus(redis_url)
    await other.claim("strategy_runner", 1)
    other_ledger = [m._replace(ledger="b") for m in (intent(2), intent(3))]
    await other.publish([other_ledger[0]._replace(entry=(2, 0), prev=(0, 0)), other_ledger[1]])
    async with within(10):
        with pytest.raises(LedgerReplacedError, match="strategy_runner"):
            await Service(host(tmp_path), Bus(redis_url), ServiceSettings()).run()
    await other.close()


class Refuses(Disk):
    """Takes nothing below a folder while told so."""

    folder = ""

    def write(self, fd: int, data: bytes) -> int:
        if self.folder and f"/{self.folder}/" in os.readlink(f"/proc/self/fd/{fd}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(fd, data)


def test_while_journals_cannot_be_written_nobody_reads_the_ledger_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Refuses()
    tried = host(tmp_path, disk=disk)
    tried.recover()
    disk.folder = "journals"
    for number in range(1, 50):
        tried.handle(intent(number))
        tried.commit()
    assert tried.trouble is not None
    reads = 0

    def counted(*rest: Any) -> Any:
        nonlocal reads
        reads += 1
        return ledger_lines.read(*rest)

    monkeypatch.setattr(projections, "read", counted)
    assert [tried.repair_journals() for _ in range(10)] == [False] * 10
    assert reads == 0, "it takes seconds after some hours, and the order path waits for it"
    disk.folder = ""
    assert tried.repair_journals()
    tried.close()


def test_a_host_that_cannot_close_in_order_leaves_no_lock_behind(tmp_path: Path) -> None:
    disk = Refuses()
    tried = host(tmp_path, disk=disk)
    tried.recover()
    tried.handle(intent(1))
    disk.folder = tmp_path.name
    with pytest.raises(JournalWriteError):
        tried.close()
    disk.folder = ""
    again = host(tmp_path)
    assert again.recover() == 0
    again.close()


class Waiting:
    """A service that runs until it is stopped."""

    was_ready = True

    def __init__(self) -> None:
        self.asked_to_stop = False
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        self.asked_to_stop = True
        self._stopped.set()

    async def run(self) -> None:
        await other_tasks()  # its own handlers come later
        await self._stopped.wait()


async def test_a_daemon_told_to_end_while_it_recovers_from_a_refusal_ends(tmp_path: Path) -> None:
    first = JournalWriteError(tmp_path / "ledger.ndjson", OSError(errno.ENOSPC, "full"))
    starts = 0

    def start(trouble: JournalWriteError | None) -> Any:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise first
        os.kill(os.getpid(), signal.SIGTERM)  # while the ledger is read
        return Waiting()

    async with within(5):
        await Supervisor("risk_engine", start, ServiceSettings()).run()
    assert starts == 2
