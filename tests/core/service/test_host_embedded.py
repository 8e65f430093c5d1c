"""The fleet in one process: comes to rest or says why not, and delivers after a crash what was left between hosts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from core.component import Message
from core.contracts import (
    Contract,
    KillSwitchEvent,
    OrderEvent,
    OrderIntent,
    OrderUpdate,
    RiskDecision,
    TradeEvent,
)  # fmt: skip
from core.ledger import Ledger
from core.service.embedded import ROUND_LIMIT, EmbeddedFleet, RunawayError
from core.service.host import ComponentHost, JournalSet

TRADE = TradeEvent("A/B", 1.0, 1.0, "buy", 5, "1")


class Scripted:
    """Answers each contract with what the script says, and notes what it was told."""

    def __init__(self, name: str, script: dict[type[Contract], Iterable[Contract]]) -> None:
        self.name = name
        self.told: list[Contract] = []
        self._script = script

    def on_event(self, event: Contract) -> Iterable[Contract]:
        self.told.append(event)
        return self._script.get(type(event), ())


class Pass:
    name = "md_ingest"

    def on_event(self, event: Contract) -> Iterable[Contract]:
        return (event,)


INTENT = OrderIntent("s", "A/B", "buy", "market", 1.0, intent_id="i1", ts_local_ns=5)
DECISION = RiskDecision("i1", True, "", {}, strategy_id="s")
ORDER = OrderEvent("i1", "paper", "A/B", "buy", "market", 1.0, 5, decision=DECISION)
UPDATE = OrderUpdate("o1", "i1", "s", "paper", "A/B", "buy", "market", 1.0, None, "open", 0.0, 0.0, 5)


def fleet(folder: Path, *parts: Scripted, seen: list[Message] | None = None) -> EmbeddedFleet:
    hosts = [
        ComponentHost(p, JournalSet(folder / "journals"), Ledger(folder / "ledgers" / f"{p.name}.ndjson"))
        for p in parts
    ]
    observer = None if seen is None else seen.extend
    return EmbeddedFleet(ComponentHost(Pass(), JournalSet(folder / "journals")), hosts, observer)


def three(**scripts: dict[type[Contract], Iterable[Contract]]) -> list[Scripted]:
    names = ("strategy_runner", "risk_engine", "paper_trader")
    return [Scripted(name, scripts.get(name, {})) for name in names]


def test_a_market_event_runs_through_until_nobody_answers(tmp_path: Path) -> None:
    strategy, risk, paper = three(
        strategy_runner={TradeEvent: [INTENT]},
        risk_engine={OrderIntent: [DECISION, ORDER]},
        paper_trader={OrderEvent: [UPDATE]},
    )
    seen: list[Message] = []
    running = fleet(tmp_path, strategy, risk, paper, seen=seen)
    running.recover()
    assert running.feed(TRADE) == []
    assert [type(m.event).__name__ for m in seen] == [
        "TradeEvent", "OrderIntent", "RiskDecision", "OrderEvent", "OrderUpdate",
    ]  # fmt: skip
    assert strategy.told == [TRADE, DECISION, UPDATE]
    assert paper.told == [TRADE, ORDER]
    running.close()


def test_components_that_answer_each_other_without_end_are_detected_and_named(tmp_path: Path) -> None:
    chatty: dict[type[Contract], Iterable[Contract]] = {TradeEvent: [INTENT], RiskDecision: [INTENT]}
    running = fleet(tmp_path, *three(strategy_runner=chatty, risk_engine={OrderIntent: [DECISION]}))
    running.recover()
    with pytest.raises(RunawayError, match=rf"more than {ROUND_LIMIT} rounds, the last one on (strat\.intent|risk)"):
        running.feed(TRADE)


def test_what_a_crash_left_between_two_hosts_is_delivered_on_start(tmp_path: Path) -> None:
    strategy = ComponentHost(
        Scripted("strategy_runner", {TradeEvent: [INTENT]}),
        JournalSet(tmp_path / "journals"),
        Ledger(tmp_path / "ledgers" / "strategy_runner.ndjson"),
    )
    strategy.recover()
    strategy.handle(Message("md.trades.A/B", TRADE, "md_ingest", 1))
    strategy.commit()
    strategy.close()  # the crash: committed, and nobody was told
    _, risk, paper = parts = three(risk_engine={OrderIntent: [DECISION, ORDER]}, paper_trader={OrderEvent: [UPDATE]})
    running = fleet(tmp_path, *parts)
    running.recover()
    assert risk.told == [INTENT, UPDATE]
    assert paper.told == [ORDER]
    running.close()
    once_more = three(risk_engine={OrderIntent: [DECISION, ORDER]}, paper_trader={OrderEvent: [UPDATE]})
    again = fleet(tmp_path, *once_more)
    again.recover()
    assert [part.told for part in once_more] == [[], [], []]
    again.close()


def test_the_kill_switch_reaches_every_host_with_a_ledger_and_is_settled(tmp_path: Path) -> None:
    tripped = KillSwitchEvent(True, "file", 5)
    strategy, risk, paper = three(paper_trader={KillSwitchEvent: [UPDATE]})
    running = fleet(tmp_path, strategy, risk, paper)
    running.recover()
    running.tell(tripped)
    assert (strategy.told, risk.told, paper.told) == ([tripped, UPDATE], [tripped, UPDATE], [tripped])
    assert all(each.halted for each in running.hosts)
    running.close()
