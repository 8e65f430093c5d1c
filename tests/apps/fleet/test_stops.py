"""The fleet in one process, halted and interrupted in the middle of a recording."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from apps.fleet.session import Session
from apps.md_ingest.source import open_offline
from core.component import Message
from core.contracts import OrderUpdate, RiskDecision
from core.ledger import ledger
from tests.conftest import ROOT
from tests.support import captures
from tests.support.fleet_config import busy_installation, config_in
from tests.support.invariants import assert_hold, journal
from tests.support.waiting import patience, wait_until

SHORT_S = 40


def test_the_kill_switch_file_halts_a_session_and_its_removal_lets_it_go_on(
    recorded_data: Path, tmp_path: Path
) -> None:
    feed = captures.shortened(captures.recorded(recorded_data), tmp_path / "captures", SHORT_S)
    config = config_in(tmp_path / "run", busy_installation(tmp_path))
    switch = config.kill_switch_file
    seen: Counter[str] = Counter()

    def observe(messages: Sequence[Message]) -> None:
        for message in messages:
            if isinstance(message.event, RiskDecision):
                seen["allowed" if message.event.allowed else message.event.reason] += 1
        if seen["allowed"] == 10 and not seen["halted"]:
            switch.touch()
        elif seen["halted"] >= 5:
            switch.unlink(missing_ok=True)

    session = Session(config, open_offline(captures.feed_of(feed), config, speed=20), observe, durable=False)
    asyncio.run(session.run())

    assert session.interventions == 2
    assert_hold(tmp_path / "run")
    journals = tmp_path / "run" / "journals"
    assert [line["state"] for line in journal(journals, "risk.state")] == ["HALTED", "ACTIVE"]
    reasons = [line["reason"] for line in journal(journals, "risk.decisions")]
    first, last = reasons.index("halted"), len(reasons) - 1 - reasons[::-1].index("halted")
    assert set(reasons[first : last + 1]) == {"halted"}
    assert "" in reasons[:first]
    assert "" in reasons[last:]
    taken_back = [
        event.order_id
        for transaction in ledger.read(tmp_path / "run" / "ledgers" / "paper_trader.ndjson")
        for _, event in transaction.events
        if isinstance(event, OrderUpdate) and (event.status, event.reason) == ("canceled", "halted")
    ]
    assert taken_back, "limit orders were open when the switch tripped"


@pytest.mark.full
def test_ctrl_c_ends_a_session_in_order_with_whole_files(recorded_data: Path, tmp_path: Path) -> None:
    feed = captures.shortened(captures.recorded(recorded_data), tmp_path / "captures", SHORT_S)
    out = tmp_path / "run"
    options = ["--feed", captures.feed_of(feed), "--speed", "10x", "--plain", "--json", "--out", str(out)]
    installation = str(busy_installation(tmp_path))
    fills = out / "journals" / "fills.BTCUSDT.ndjson"
    with subprocess.Popen(
        [sys.executable, "-m", "apps.fleet", "--config-root", installation, *options],
        cwd=ROOT, stdout=subprocess.PIPE, env={"NJORD_RISK__KILL_SWITCH_FILE": str(tmp_path / "killswitch")},
    ) as process:  # fmt: skip
        try:
            wait_until(lambda: fills.exists() and fills.stat().st_size > 2_000, what="there are fills")
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=patience(20))
        finally:
            process.kill()

    assert process.returncode == 0
    outcome = json.loads(told)
    assert outcome["stopped"]
    assert {check["verdict"] for check in outcome["checks"]} == {"PASS"}
    assert_hold(out)
    journaled = 0
    for symbol, path in feed.items():
        trades = captures.trades_of(path)
        got = [line["trade_id"] for line in journal(out / "journals", f"md.trades.{symbol.replace('/', '')}")]
        assert 0 < len(got) < len(trades)
        assert got == [trade.trade_id for trade in trades[: len(got)]]
        journaled += len(got)
    assert f" {journaled:,} trades" in outcome["checks"][0]["detail"], "what was taken in is on record, to the last one"
