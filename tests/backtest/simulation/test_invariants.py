"""The invariants themselves: silent on a sound run, and loud about every way in which a run can be wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.fleet.session import Session
from apps.md_ingest.source import open_offline
from core.contracts import KillSwitchEvent
from tests.support.fleet_config import config_in
from tests.support.invariants import assert_hold, violations

Edit = Callable[[list[Any]], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short synthetic session."""
    folder = tmp_path_factory.mktemp("sound")
    config = config_in(folder)
    session = Session(config, open_offline("synthetic:5:8", config), durable=False)
    asyncio.run(session.run())
    return folder


@pytest.fixture
def run(sound: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(sound, tmp_path / "run")


def edit_journal(run: Path, stream: str, edit: Edit) -> None:
    path = run / "journals" / f"{stream}.ndjson"
    lines = path.read_text().splitlines()
    edit(lines)
    path.write_text("".join(f"{line}\n" for line in lines))


def edit_ledger(run: Path, name: str, edit: Edit) -> None:
    """Change transactions as a faulty program would have written them: with a chain that holds."""
    path = run / "ledgers" / f"{name}.ndjson"
    transactions = [json.loads(line) for line in path.read_text().splitlines()]
    edit(transactions)
    prev, lines = hashlib.sha256(f"njord ledger {name}".encode()).hexdigest(), []
    for number, transaction in enumerate(transactions, 1):
        body = {key: value for key, value in transaction.items() if key != "hash"} | {"seq": number, "prev": prev}
        prev = hashlib.sha256(json.dumps(body, separators=(",", ":")).encode()).hexdigest()
        lines.append(json.dumps(body | {"hash": prev}, separators=(",", ":")) + "\n")
    path.write_text("".join(lines))


def said(transactions: list[Any], topic: str) -> tuple[Any, Any]:
    """The first transaction that says something on a topic, and what it says."""
    return next((t, e["event"]) for t in transactions for e in t["events"] if e["topic"] == topic)


def test_a_sound_run_breaks_no_invariant(sound: Path) -> None:
    assert (sound / "journals" / "fills.BTCUSDT.ndjson").stat().st_size > 0
    assert_hold(sound)


def test_writing_a_ledger_again_unchanged_breaks_nothing(run: Path) -> None:
    edit_ledger(run, "paper_trader", lambda transactions: None)

    assert_hold(run)


def test_one_changed_byte_breaks_the_chain(run: Path) -> None:
    path = run / "ledgers" / "risk_engine.ndjson"
    path.write_bytes(path.read_bytes().replace(b'"side":"buy"', b'"side":"bux"', 1))

    assert any("does not match its hash" in text for text in violations(run))


@pytest.mark.parametrize(
    ("stream", "edit", "breach"),
    [
        ("md.trades.BTCUSDT", lambda lines: lines.pop(7), "md.trades.BTCUSDT: trade ids have holes or repeats"),
        ("md.trades.BTCUSDT", lambda lines: lines.insert(7, lines[7]), "md.trades.BTCUSDT: trade ids"),
        ("md.book.BTCUSDT", lambda lines: lines.insert(7, lines[7]), "md.book.BTCUSDT: update"),
        ("ohlcv.1m.BTCUSDT", lambda lines: lines.pop(2), "ohlcv.1m.BTCUSDT: bars overlap or have holes"),
        ("strat.intent", lambda lines: lines.pop(0), "journal strat.intent"),
        ("risk.decisions", lambda lines: lines.insert(1, lines[0]), "journal risk.decisions"),
        ("fills.BTCUSDT", lambda lines: lines.append(lines[-1]), "journal fills.BTCUSDT"),
        ("positions.BTCUSDT", lambda lines: lines.reverse(), "journal positions.BTCUSDT"),
    ],
)
def test_a_journal_that_is_not_what_happened_is_found(run: Path, stream: str, edit: Edit, breach: str) -> None:
    edit_journal(run, stream, edit)

    assert any(text.startswith(breach) for text in violations(run))


def _drop_decision(transactions: list[Any]) -> None:
    said(transactions, "risk.decisions")[0]["events"].clear()


def _decide_twice(transactions: list[Any]) -> None:
    transaction, _ = said(transactions, "risk.decisions")
    transaction["events"] += transaction["events"]


def _drop_order(transactions: list[Any]) -> None:
    transaction, _ = said(transactions, "orders.accepted")
    transaction["events"] = [each for each in transaction["events"] if each["topic"] != "orders.accepted"]


def _order_more(transactions: list[Any]) -> None:
    said(transactions, "orders.accepted")[1]["qty"] *= 2


def _forge_decision(transactions: list[Any]) -> None:
    said(transactions, "orders.accepted")[1]["decision"]["caps"]["per_order_usd_cap"] = 1e9


def _skip_a_message(transactions: list[Any]) -> None:
    del transactions[3]


def _take_a_message_twice(transactions: list[Any]) -> None:
    transactions.insert(3, transactions[2])


def _deny_as_halted(transactions: list[Any]) -> None:
    transaction, decision = said(transactions, "risk.decisions")
    decision |= {"allowed": False, "reason": "halted"}
    transaction["events"] = transaction["events"][:1]


@pytest.mark.parametrize(
    ("edit", "breach"),
    [
        (_drop_decision, "no decision on intent"),
        (_decide_twice, "intent_id i-"),
        (_drop_order, "allowed is True, orders 0"),
        (_order_more, "differs from its intent in qty"),
        (_forge_decision, "carries another decision"),
        (_skip_a_message, "risk_engine never processed"),
        (_take_a_message_twice, "twice or out of order"),
        (_deny_as_halted, "denied as halted without a halt"),
    ],
)
def test_a_risk_engine_that_errs_is_found(run: Path, edit: Edit, breach: str) -> None:
    edit_ledger(run, "risk_engine", edit)

    assert any(breach in text for text in violations(run)), violations(run)[:5]


def _double_fill(transactions: list[Any]) -> None:
    transaction, _ = said(transactions, "fills.new")
    transaction["events"] += transaction["events"]


def _lose_fill(transactions: list[Any]) -> None:
    transaction, _ = said(transactions, "fills.new")
    transaction["events"] = [each for each in transaction["events"] if each["topic"] != "fills.new"]


def _overfill(transactions: list[Any]) -> None:
    said(transactions, "fills.new")[1]["qty"] += 1.0


def _fill_nobodys_order(transactions: list[Any]) -> None:
    said(transactions, "fills.new")[1]["order_id"] = "o-unknown"


def _miscount_position(transactions: list[Any]) -> None:
    said(transactions, "positions.snapshot")[1]["qty"] += 0.00001


def _halt(transactions: list[Any]) -> None:
    event = KillSwitchEvent(True, "file", 1).to_dict()
    cause = {"stream": "local", "id": "KillSwitchEvent", "topic": "local.KillSwitchEvent", "event": event}
    transactions.insert(0, transactions[0] | {"cause": cause, "events": []})


@pytest.mark.parametrize(
    ("edit", "breach"),
    [
        (_double_fill, "fill_id"),
        (_lose_fill, "fills add up to"),
        (_overfill, ": filled "),
        (_fill_nobodys_order, "which was never accepted"),
        (_miscount_position, "position in "),
        (_halt, "fills.new while halted"),
    ],
)
def test_a_venue_that_errs_is_found(run: Path, edit: Edit, breach: str) -> None:
    edit_ledger(run, "paper_trader", edit)

    assert any(breach in text for text in violations(run)), violations(run)[:5]


def test_what_is_still_under_way_is_a_breach_only_of_a_fleet_at_rest(run: Path) -> None:
    edit_ledger(run, "risk_engine", lambda transactions: transactions.pop())
    edit_ledger(run, "strategy_runner", lambda transactions: transactions.pop())

    assert any("never processed" in text for text in violations(run))
    assert [text for text in violations(run, settled=False) if "never processed" in text] == []
