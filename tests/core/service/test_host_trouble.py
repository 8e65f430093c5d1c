"""The host when something beside the decision goes wrong: a disk that refuses, a component that fails, lost ledgers."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import codec
from core.clock import NS_PER_DAY, NS_PER_MINUTE
from core.component import Component, Message
from core.contracts import Contract, JournalHealth, OHLCVBar, OrderIntent, RiskDecision, TradeEvent
from core.disk import Disk
from core.errors import JournalWriteError, LedgerReplacedError
from core.journal import JournalReader
from core.ledger import Ledger, read
from core.market.bars import BarAggregator
from core.service.host import TRIES, ComponentHost, JournalSet

DAY = 20_000 * NS_PER_DAY


class Stubborn(Disk):
    """A disk that refuses to write in folders of some name, while told so."""

    def __init__(self) -> None:
        self.refuses = ""
        self._paths: dict[int, Path] = {}

    def open(self, path: Path, flags: int) -> int:
        fd = super().open(path, flags)
        self._paths[fd] = path
        return fd

    def write(self, fd: int, data: bytes) -> int:
        if self._paths[fd].parent.name == self.refuses:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(fd, data)


class Denies:
    """Denies every intent, remembers what it was told of the disk, and fails on demand."""

    name = "risk_engine"

    def __init__(self, failures: list[int] | None = None) -> None:
        self.health: list[bool] = []
        self.decided: list[str] = []
        self._failures = [0] if failures is None else failures

    def on_event(self, event: Contract) -> Iterable[Contract]:
        if isinstance(event, JournalHealth):
            self.health.append(event.ok)
            return ()
        if not isinstance(event, OrderIntent):
            return ()
        self.decided.append(event.intent_id)  # half done: a failure now leaves it behind
        if self._failures[0]:
            self._failures[0] -= 1
            raise ZeroDivisionError("a bug")
        return [RiskDecision(event.intent_id, False, "no", {}, ts_decided_ns=event.ts_ns)]

    def recover(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        if isinstance(cause, OrderIntent):
            self.decided.append(cause.intent_id)

    def snapshot(self) -> dict[str, Any]:
        return {"decided": self.decided}


def host(folder: Path, disk: Disk | None = None, component: Component | None = None, **options: Any) -> ComponentHost:
    disk = disk or Disk()
    book = Ledger(folder / "ledgers" / "risk_engine.ndjson", disk=disk)
    made = ComponentHost(component or Denies(), JournalSet(folder / "journals", disk=disk), book, **options)
    made.recover()
    return made


def intent(number: int, ledger: str = "") -> Message:
    event = OrderIntent("s", "A/B", "buy", "market", 1.0, intent_id=f"i{number}", ts_local_ns=DAY + number)
    return Message("strat.intent", event, "strategy_runner", number, (number, 0), (number - 1, 0), ledger)


def process(host: ComponentHost, *messages: Message) -> list[Message]:
    out = [answer for message in messages for answer in host.handle(message)]
    host.commit()
    return out


def decided(folder: Path) -> list[str]:
    lines = JournalReader(folder / "journals").lines("risk.decisions")
    return [codec.decode(RiskDecision, line).intent_id for line in lines]


def test_journals_that_cannot_be_written_are_told_with_the_next_message_and_mended_later(tmp_path: Path) -> None:
    disk = Stubborn()
    tried = host(tmp_path, disk)
    process(tried, intent(1))

    disk.refuses = "journals"
    answered = process(tried, intent(2), intent(3))
    assert [m.topic for m in answered] == ["risk.decisions"] * 2, "the ledger goes on"
    assert tried.trouble is not None
    assert "Input/output error" in str(tried.trouble)
    process(tried, intent(4))
    assert isinstance(tried.component, Denies)
    assert tried.component.health == [False], "once, and before the next message"
    assert tried.repair_journals() is False
    assert decided(tmp_path) == ["i1"]

    disk.refuses = ""
    assert tried.repair_journals() is True
    tried.report_trouble()
    process(tried, intent(5))
    assert tried.component.health == [False, True]
    assert decided(tmp_path) == ["i1", "i2", "i3", "i4", "i5"]
    assert [alert.severity for alert in tried.alerts] == ["critical", "info"]


def test_what_the_disk_said_is_on_record_and_survives_a_restart(tmp_path: Path) -> None:
    disk = Stubborn()
    tried = host(tmp_path, disk)
    disk.refuses = "journals"
    process(tried, intent(1), intent(2))
    process(tried, intent(3))
    tried.abandon()

    disk.refuses = ""
    again = host(tmp_path)
    assert again.trouble is None
    assert decided(tmp_path) == ["i1", "i2", "i3"]
    again.report_trouble()
    again.commit()
    assert isinstance(again.component, Denies)
    assert again.component.health == [True], "the end of the trouble is told, for its beginning is on record"
    told = [t.cause.event for t in read(tmp_path / "ledgers" / "risk_engine.ndjson") if t.cause.stream == "local"]
    assert [event.ok for event in told if isinstance(event, JournalHealth)] == [False, True]


def test_a_start_after_a_refused_ledger_begins_with_the_trouble(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    trouble = JournalWriteError(tmp_path / "ledgers" / "risk_engine.ndjson", full)
    tried = host(tmp_path, trouble=trouble)
    process(tried, intent(1))
    assert isinstance(tried.component, Denies)
    assert tried.component.health == [False]
    assert tried.repair_journals()
    tried.report_trouble()
    assert tried.component.health == [False, True]


def test_a_refused_ledger_sends_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    disk = Stubborn()
    tried = host(tmp_path, disk)
    process(tried, intent(1))
    disk.refuses = "ledgers"
    tried.handle(intent(2))
    with pytest.raises(JournalWriteError):
        tried.commit()
    tried.abandon()

    disk.refuses = ""
    again = host(tmp_path)
    assert again.consumed["strategy_runner"] == (1, 0)
    assert again.component.snapshot() == {"decided": ["i1"]}  # type: ignore[attr-defined]
    assert [m.entry for m in process(again, intent(2))] == [(2, 0)]


def test_a_component_that_fails_is_made_anew_and_asked_again(tmp_path: Path) -> None:
    failures = [0]
    tried = host(tmp_path, component=Denies(failures), rebuild=lambda: Denies(failures))
    process(tried, intent(1))
    failures[0] = TRIES - 1

    assert [m.topic for m in process(tried, intent(2))] == ["risk.decisions"]
    assert tried.component.snapshot() == {"decided": ["i1", "i2"]}, "nothing half done is left"  # type: ignore[attr-defined]
    assert tried.counters.recoveries == TRIES - 1
    assert not tried.alerts


def test_a_message_that_always_fails_is_set_aside_with_an_alert_and_blocks_nobody(tmp_path: Path) -> None:
    failures = [0]
    tried = host(tmp_path, component=Denies(failures), rebuild=lambda: Denies(failures))
    process(tried, intent(1))
    failures[0] = TRIES

    assert process(tried, intent(2)) == []
    assert [m.topic for m in process(tried, intent(3))] == ["risk.decisions"]
    assert tried.component.snapshot() == {"decided": ["i1", "i3"]}  # type: ignore[attr-defined]
    assert [alert.title for alert in tried.alerts] == [f"OrderIntent set aside after {TRIES} tries"]
    notes = [t.note for t in read(tmp_path / "ledgers" / "risk_engine.ndjson")]
    assert notes == ["", "ZeroDivisionError: a bug", ""]
    (aside,) = JournalReader(tmp_path / "journals").lines("rejected.risk_engine")
    assert codec.decode_plain(aside)["event"]["intent_id"] == "i2"


def test_entries_of_another_ledger_under_the_same_name_stop_the_daemon(tmp_path: Path) -> None:
    tried = host(tmp_path)
    process(tried, intent(1, "aaaa"), intent(2, "aaaa"))
    with pytest.raises(LedgerReplacedError, match="up to 2-0 of the ledger aaaa, but now gets entries of bbbb"):
        tried.handle(intent(3, "bbbb"))
    tried.close()

    again = host(tmp_path)
    with pytest.raises(LedgerReplacedError):
        again.handle(intent(1, "bbbb"))
    assert [m.entry for m in process(again, intent(3, "aaaa"))] == [(3, 0)]
    causes = [t.cause.ledger for t in read(tmp_path / "ledgers" / "risk_engine.ndjson")]
    assert causes == ["aaaa", "", ""], "kept once"


def trade(number: int, minute: int) -> TradeEvent:
    return TradeEvent("BTC/USDT", 100.0 + number, 1.0, "buy", DAY + minute * NS_PER_MINUTE + number, str(number))


def sent(event: TradeEvent, number: int) -> Message:
    return Message("md.trades.BTC/USDT", event, "md_ingest", number)


def test_broadcasts_lost_on_the_way_are_taken_from_the_journals(tmp_path: Path) -> None:
    trades = [trade(1, 0), trade(2, 0), trade(3, 0), trade(4, 1)]

    def catch_up(component: Component) -> Sequence[Contract]:
        assert isinstance(component, BarAggregator)
        return component.catch_up((), trades[:3])

    plain = ComponentHost(BarAggregator(["1m"]), JournalSet(tmp_path / "plain"))
    for number, event in enumerate(trades, 1):
        plain.handle(sent(event, number))
    plain.commit()

    journals = JournalSet(tmp_path / "lossy")
    lossy = ComponentHost(BarAggregator(["1m"]), journals, rebuild=lambda: BarAggregator(["1m"]), catch_up=catch_up)
    for number in (1, 3, 4):
        lossy.handle(sent(trades[number - 1], number))
    lossy.commit()

    assert lossy.counters.lost == {"md_ingest:md.trades.BTC/USDT": 1}
    bars = [
        codec.decode(OHLCVBar, line)
        for name in ("plain", "lossy")
        for line in JournalReader(tmp_path / name).lines("ohlcv.1m.BTCUSDT")
    ]
    assert bars[0].trades == 3
    assert bars[1:] == [bars[0]]


def test_a_daemon_without_a_ledger_keeps_what_a_full_disk_does_not_take(tmp_path: Path) -> None:
    disk = Stubborn()
    feed = ComponentHost(_Pass(), JournalSet(tmp_path, rotate_bytes=400, disk=disk))
    feed.handle_local(trade(1, 0))
    feed.commit()
    disk.refuses = tmp_path.name
    for number in range(2, 12):
        feed.handle_local(trade(number, 0))
    with pytest.raises(JournalWriteError):
        feed.commit()
    disk.refuses = ""
    feed.commit()
    got = [codec.decode(TradeEvent, line) for line in JournalReader(tmp_path).lines("md.trades.BTCUSDT")]
    assert got == [trade(number, 0) for number in range(1, 12)]
    assert feed.trouble is None


class _Pass:
    name = "md_ingest"

    def on_event(self, event: Contract) -> Sequence[Contract]:
        return (replace(event),)
