"""Risk engine and paper trader over a bus in memory: a trade, an intent, and all that follows, twice the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from apps.paper_trader.main import SPEC as PAPER_TRADER
from apps.risk_engine.main import SPEC as RISK_ENGINE
from core import topics
from core.bus import MemoryBus, Subscription
from core.component import Message
from core.config.model import Config
from core.contracts import Contract, FillEvent, OrderEvent, OrderIntent, PositionSnapshot, RiskDecision, TradeEvent
from core.service.host import ComponentHost
from core.service.launch import assemble
from core.topics import Delivery
from tests.support.fleet_config import config_in
from tests.support.waiting import other_tasks

BTC = "BTC/USDT"
T0 = 1_700_000_000_000_000_000
TRADE = TradeEvent(BTC, 50_000.0, 1.0, "buy", T0, "1")
INTENT = OrderIntent("hand", BTC, "buy", "market", 0.02, None, "i-1", T0 + 1)


def configured(folder: Path) -> Config:
    config = config_in(folder)
    config.paper.__dict__["fill_model"] = "last_trade"
    return config


async def serve(host: ComponentHost, bus: MemoryBus) -> None:
    """What a daemon does with its component, without anything that can fail."""
    patterns = tuple(r.pattern for r in topics.consumed_by(host.name) if r.delivery is Delivery.BROADCAST)
    async for batch in bus.consume(Subscription(patterns, host.streams)):
        answers = [answer for message in batch for answer in host.handle(message)]
        host.commit()
        await bus.publish(answers)


@asynccontextmanager
async def daemons(folder: Path) -> AsyncIterator[MemoryBus]:
    bus, config = MemoryBus(), configured(folder)
    hosts = [assemble(spec, config, durable=False) for spec in (RISK_ENGINE, PAPER_TRADER)]
    async with asyncio.TaskGroup() as running:
        for host in hosts:
            running.create_task(serve(host, bus))
        await other_tasks()  # both subscribe
        yield bus
        await bus.close()
    for host in hosts:
        host.close()


async def ask(bus: MemoryBus, intent: OrderIntent) -> None:
    await bus.publish([Message("strat.intent", intent, "strategy_runner", 1, (1, 0))])


async def first(bus: MemoryBus, contract: type[Contract]) -> Contract:
    row = topics.BY_CONTRACT[contract]
    return contract.from_dict(await anext(bus.subscribe(row.pattern)))


async def test_an_intent_becomes_decision_order_fill_and_position(tmp_path: Path) -> None:
    async with daemons(tmp_path) as bus:
        wanted = (RiskDecision, OrderEvent, FillEvent, PositionSnapshot)
        coming = [asyncio.create_task(first(bus, contract)) for contract in wanted]
        await other_tasks()
        await bus.publish_json(f"md.trades.{BTC}", TRADE.to_dict())
        await ask(bus, INTENT)
        decision, order, fill, position = await asyncio.gather(*coming)

    assert isinstance(decision, RiskDecision)
    assert (decision.intent_id, decision.allowed, decision.reason) == ("i-1", True, "")
    assert isinstance(order, OrderEvent)
    assert (order.intent_id, order.qty, order.venue, order.decision) == ("i-1", 0.02, "paper", decision)
    assert isinstance(fill, FillEvent)
    assert (fill.order_id, fill.qty, fill.price, fill.fee) == (order.order_id, 0.02, 50_000.0, 1.0)
    assert isinstance(position, PositionSnapshot)
    assert (position.symbol, position.qty, position.avg_price, position.fees_paid) == (BTC, 0.02, 50_000.0, 1.0)


async def test_a_denied_intent_goes_no_further(tmp_path: Path) -> None:
    async with daemons(tmp_path) as bus:
        coming = asyncio.create_task(first(bus, RiskDecision))
        await other_tasks()
        await bus.publish_json(f"md.trades.{BTC}", TRADE.to_dict())
        await ask(bus, replace(INTENT, qty=1.0))
        decision = await coming

    assert isinstance(decision, RiskDecision)
    assert decision.reason.startswith("PER_ORDER_CAP: notional=50000")
    assert not (tmp_path / "journals" / "orders.accepted.ndjson").exists()
    assert (tmp_path / "ledgers" / "paper_trader.ndjson").read_bytes() == b""


async def test_the_same_messages_leave_the_same_ledgers(tmp_path: Path) -> None:
    for name in ("once", "again"):
        async with daemons(tmp_path / name) as bus:
            await bus.publish_json(f"md.trades.{BTC}", TRADE.to_dict())
            await ask(bus, INTENT)

    once, again = ([p.read_bytes() for p in sorted((tmp_path / n / "ledgers").iterdir())] for n in ("once", "again"))
    assert all(once)
    assert once == again
