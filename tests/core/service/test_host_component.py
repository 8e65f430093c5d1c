"""The host: each message once, what fails set aside and counted, nothing out before it is durable, recovery exact."""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from core import codec
from core.clock import NS_PER_DAY
from core.component import Message, Unreadable
from core.contracts import (
    BookEvent,
    Contract,
    KillSwitchEvent,
    OrderEvent,
    OrderIntent,
    RiskDecision,
    TradeEvent,
)  # fmt: skip
from core.errors import ContractError, JournalWriteError
from core.journal import JournalReader
from core.ledger import Ledger, ledger
from core.service.embedded import deliver
from core.service.host import ComponentHost, JournalSet, identity

DAY = 20_000 * NS_PER_DAY


class Risk:
    """Allows every intent, and does as its symbol says."""

    name = "risk_engine"

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.recovered: list[Any] = []

    def on_event(self, event: Contract) -> Iterable[Contract]:
        if isinstance(event, OrderIntent):
            self.seen.append(event.intent_id)
            if event.symbol == "BAD/USDT":
                raise ContractError("not this one")
            if event.symbol == "BUG/USDT":
                raise ZeroDivisionError("a bug")
            return self.decided(event.intent_id, event.ts_ns)
        return ()

    def decided(self, intent_id: str, ts_ns: int) -> list[Contract]:
        decision = RiskDecision(intent_id, True, "", {}, ts_decided_ns=ts_ns)
        return [decision, OrderEvent(intent_id, "paper", "A/B", "buy", "market", 1.0, ts_ns, decision=decision)]

    def recover(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        self.recovered.append((cause, list(events)))
        if isinstance(cause, OrderIntent):
            self.seen.append(cause.intent_id)

    def snapshot(self) -> dict[str, Any]:
        return {"seen": self.seen}


def host(folder: Path, component: Any = None) -> ComponentHost:
    made = ComponentHost(
        component or Risk(), JournalSet(folder / "journals"), Ledger(folder / "ledgers" / "risk_engine.ndjson")
    )
    made.recover()
    return made


def intent(number: int, symbol: str = "A/B", ts_ns: int = 0) -> Message:
    event = OrderIntent("s", symbol, "buy", "market", 1.0, intent_id=f"i{number}", ts_local_ns=ts_ns or DAY + number)
    return Message("strat.intent", event, "strategy_runner", number, (number, 0))


def journaled(folder: Path, stream: str) -> list[Any]:
    return [codec.decode_plain(line) for line in JournalReader(folder / "journals").lines(stream)]


def test_a_message_is_answered_with_its_place_in_the_ledger(tmp_path: Path) -> None:
    risk = host(tmp_path)
    out = risk.handle(intent(7))
    assert [(m.topic, m.producer, m.entry) for m in out] == [
        ("risk.decisions", "risk_engine", (1, 0)), ("orders.accepted", "risk_engine", (1, 1)),
    ]  # fmt: skip
    assert risk.streams["strategy_runner"] == (7, 0)


def test_an_entry_that_was_processed_is_counted_and_answers_nothing(tmp_path: Path) -> None:
    risk = host(tmp_path)
    risk.handle(intent(7))
    assert risk.handle(intent(7)) == []
    assert risk.handle(intent(6)) == []
    assert (risk.counters.duplicates, risk.ledger.seq if risk.ledger else 0) == (2, 1)


def test_an_entry_that_was_processed_is_a_duplicate_after_a_restart_too(tmp_path: Path) -> None:
    first = host(tmp_path)
    first.handle(intent(7))
    first.close()
    again = host(tmp_path)
    assert again.handle(intent(7)) == []
    assert again.component.seen == ["i7"]  # type: ignore[attr-defined]


def test_an_entry_without_an_answer_is_remembered_as_processed(tmp_path: Path) -> None:
    class Silent(Risk):
        def decided(self, intent_id: str, ts_ns: int) -> list[Contract]:
            return []

    first = host(tmp_path, Silent())
    assert first.handle(intent(1)) == []
    first.close()
    assert host(tmp_path).streams["strategy_runner"] == (1, 0)


@pytest.mark.parametrize(("symbol", "error"), [("BAD/USDT", "ContractError"), ("BUG/USDT", "ZeroDivisionError")])
def test_a_message_that_fails_is_set_aside_and_does_not_block_the_line(tmp_path: Path, symbol: str, error: str) -> None:
    risk = host(tmp_path)
    assert risk.handle(intent(1, symbol)) == []
    assert len(risk.handle(intent(2))) == 2
    risk.close()
    (line,) = journaled(tmp_path, "rejected.risk_engine")
    assert (line["daemon"], line["contract"], line["error"]) == ("risk_engine", "OrderIntent", error)
    assert line["event"]["intent_id"] == "i1"
    assert line["reason"]
    assert risk.counters.errors == {error: 1}
    first, second = ledger.read(tmp_path / "ledgers" / "risk_engine.ndjson")
    assert (first.events, bool(first.note), second.note) == ((), True, "")


def test_a_message_that_failed_is_not_folded_again_and_not_tried_again(tmp_path: Path) -> None:
    first = host(tmp_path)
    first.handle(intent(1, "BUG/USDT"))
    first.close()
    again = host(tmp_path)
    assert again.component.recovered == []  # type: ignore[attr-defined]
    assert again.handle(intent(1, "BUG/USDT")) == []
    assert again.counters.duplicates == 1


def test_an_unreadable_entry_is_recorded_once_over_any_number_of_restarts(tmp_path: Path) -> None:
    raw = Message("strat.intent", Unreadable("strat.intent", "{", "cut"), "strategy_runner", 0, (3, 0))
    nameless = Message("", Unreadable("", "{", "no topic"), "strategy_runner", 0, (4, 0))
    for _ in range(3):
        risk = host(tmp_path)
        assert risk.handle(raw) == []
        assert risk.handle(nameless) == []
        risk.close()
    assert [line["reason"] for line in journaled(tmp_path, "rejected.risk_engine")] == ["cut", "no topic"]
    assert ledger.verify(tmp_path / "ledgers" / "risk_engine.ndjson").transactions == 2


def test_an_unreadable_broadcast_is_counted_and_leaves_the_ledger_alone(tmp_path: Path) -> None:
    risk = host(tmp_path)
    assert risk.handle(Message("md.trades.A/B", Unreadable("md.trades.A/B", "{", "cut"))) == []
    risk.close()
    assert risk.counters.errors == {"RejectedError": 1}
    assert journaled(tmp_path, "rejected.risk_engine")[0]["event"]["raw"] == "{"
    assert ledger.verify(tmp_path / "ledgers" / "risk_engine.ndjson").transactions == 0


def test_holes_in_a_producers_numbers_are_counted_per_topic(tmp_path: Path) -> None:
    risk = host(tmp_path)
    trade = TradeEvent("A/B", 1.0, 1.0, "buy", DAY)
    for seq in (5, 6, 9, 9, 1, 2, 4):  # the first may be any; a lower one is a new start
        risk.handle(Message("md.trades.A/B", trade, "md_ingest", seq))
    risk.handle(Message("md.trades.C/D", trade, "md_ingest", 100))
    risk.handle(Message("md.trades.C/D", trade))  # from somebody who does not number
    assert risk.counters.lost == {"md_ingest:md.trades.A/B": 3}
    assert risk.counters.restarts == {"md_ingest:md.trades.A/B": 1}


def test_the_kill_switch_is_recorded_and_known_after_a_restart(tmp_path: Path) -> None:
    first = host(tmp_path)
    first.handle_local(KillSwitchEvent(True, "file /tmp/x", 5))
    first.close()
    again = host(tmp_path)
    assert again.halted
    assert again.component.recovered[0][0] == KillSwitchEvent(True, "file /tmp/x", 5)  # type: ignore[attr-defined]
    again.handle_local(KillSwitchEvent(False, "cleared", 6))
    again.close()
    assert not host(tmp_path).halted


def test_nothing_is_on_disk_before_the_commit_and_all_of_it_after(tmp_path: Path) -> None:
    risk = host(tmp_path)
    risk.handle(intent(1))
    book = tmp_path / "ledgers" / "risk_engine.ndjson"
    assert book.read_bytes() == b""
    risk.commit()
    assert len(book.read_bytes().splitlines()) == 1
    assert len(journaled(tmp_path, "risk.decisions")) == 1


def test_a_ledger_that_cannot_be_written_lets_no_round_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    risk = host(tmp_path)
    refused = JournalWriteError(tmp_path, OSError(28, "No space left on device"))

    def refuse(*_: object) -> None:
        raise refused

    assert risk.ledger is not None
    monkeypatch.setattr(risk.ledger, "commit", refuse)
    with pytest.raises(JournalWriteError):
        deliver([risk], [intent(1)])
    assert not (tmp_path / "journals" / "risk.decisions.ndjson").exists() or not journaled(tmp_path, "risk.decisions")


def crash_image(source: Path, target: Path, *, keep_lines: int, stream: str = "risk.decisions") -> None:
    """The folder as a crash left it: the ledger whole, of the projection so many lines."""
    shutil.copytree(source, target)
    path = target / "journals" / f"{stream}.ndjson"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:keep_lines]))


@pytest.mark.parametrize("kept", [0, 1, 4, 5])
def test_a_projection_that_lags_is_mended_exactly_once(tmp_path: Path, kept: int) -> None:
    first = host(tmp_path / "run")
    for number in range(1, 6):
        first.handle(intent(number))
    first.close()
    expected = (tmp_path / "run" / "journals" / "risk.decisions.ndjson").read_bytes()
    crash_image(tmp_path / "run", tmp_path / "crash", keep_lines=kept)
    for _ in range(3):
        host(tmp_path / "crash").close()
        assert (tmp_path / "crash" / "journals" / "risk.decisions.ndjson").read_bytes() == expected


@pytest.mark.parametrize("kept", [0, 1])
def test_a_projection_is_mended_across_its_rotation(tmp_path: Path, kept: int) -> None:
    first = host(tmp_path / "run")
    for number in (1, 2):
        first.handle(intent(number))
    for number in (3, 4):
        first.handle(intent(number, ts_ns=DAY + NS_PER_DAY + number))
    first.close()
    expected = journaled(tmp_path / "run", "risk.decisions")
    assert len(expected) == 4
    assert len(JournalReader(tmp_path / "run" / "journals").files("risk.decisions")) == 2
    crash_image(tmp_path / "run", tmp_path / "crash", keep_lines=kept)
    for _ in range(2):
        host(tmp_path / "crash").close()
        assert journaled(tmp_path / "crash", "risk.decisions") == expected


def test_a_torn_line_of_a_projection_is_set_aside_and_written_again(tmp_path: Path) -> None:
    first = host(tmp_path)
    for number in (1, 2):
        first.handle(intent(number))
    first.close()
    path = tmp_path / "journals" / "risk.decisions.ndjson"
    good = path.read_bytes()
    path.write_bytes(good[:-20])
    host(tmp_path).close()
    assert path.read_bytes() == good
    assert path.with_name(path.name + ".torn").exists()


def test_a_lost_folder_of_projections_is_rebuilt_from_the_ledger(tmp_path: Path) -> None:
    first = host(tmp_path)
    first.handle(intent(1))
    first.close()
    expected = journaled(tmp_path, "orders.accepted")
    shutil.rmtree(tmp_path / "journals")
    host(tmp_path).close()
    assert journaled(tmp_path, "orders.accepted") == expected != []


def test_a_component_restored_from_the_ledger_equals_the_one_that_ran(tmp_path: Path) -> None:
    first = host(tmp_path)
    for number in (1, 2, 3):
        first.handle(intent(number))
    first.close()
    again = host(tmp_path)
    assert again.component.snapshot() == first.component.snapshot()  # type: ignore[attr-defined]
    assert again.clock.now_ns() == first.clock.now_ns()


def test_a_message_for_somebody_else_on_the_same_stream_is_passed_over_and_its_place_kept(tmp_path: Path) -> None:
    risk = host(tmp_path)
    foreign = Message("md.book.A/B", BookEvent("A/B", (), (), 0), "strategy_runner", 1, (5, 0))
    assert risk.handle(foreign) == []
    assert risk.counters.handled == 0
    assert risk.streams["strategy_runner"] == (5, 0)


def test_a_market_event_is_named_by_its_id_or_its_time() -> None:
    assert identity(TradeEvent("A/B", 1.0, 1.0, "buy", 9, "17")) == "17"
    assert identity(BookEvent("A/B", (), (), 0, 9)) == "9"


def test_hosts_of_a_round_see_the_messages_alike_and_answer_in_their_order(tmp_path: Path) -> None:
    first, second = host(tmp_path / "1"), host(tmp_path / "2")
    messages: Sequence[Message] = [intent(1), intent(2)]
    out = deliver([first, second], messages)
    assert [m.entry for m in out] == [(1, 0), (1, 1), (2, 0), (2, 1)] * 2
    assert not first.pending
    assert not second.pending


def test_looking_for_a_lag_does_not_gather_the_whole_ledger_in_memory(tmp_path: Path) -> None:
    first = host(tmp_path, Forgetful())
    for number in range(1, 3_001):
        first.handle(intent(number))
    first.commit()
    first.close()
    size = (tmp_path / "journals" / "risk.decisions.ndjson").stat().st_size
    tracemalloc.start()
    try:
        host(tmp_path, Forgetful()).close()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < size / 2


class Forgetful:
    """Decides like Risk, keeps nothing."""

    name = "risk_engine"

    def on_event(self, event: Contract) -> Iterable[Contract]:
        return [RiskDecision(event.intent_id, True, "", {}, ts_decided_ns=1)] if isinstance(event, OrderIntent) else []
