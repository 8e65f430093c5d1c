"""The runner as it is configured: from the shipped files to intents on the bus, and over recorded trades."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from apps.strategy_runner.main import build
from core import codec
from core.bus import MemoryBus
from core.config import load_config
from core.config.model import Config
from core.contracts import OrderIntent, TradeEvent
from core.market.capture import Recording, RecordingReader
from tests.conftest import ROOT
from tests.support.strategy_cases import filled_at_once, trade
from tests.support.waiting import other_tasks

BREAKOUT: dict[str, Any] = {
    "id": "breakout",
    "class": "strategies.samples.trendline_break.TrendlineBreak",
    "symbols": ["ATOM/USDT"],
    "events": ["md.trades.*"],
    "params": {"lookback_periods": 5, "breakout_threshold": 0.02, "qty": 2.0},
}
GRID = {
    "ATOM/USDT": {"tick_size": "0.001", "lot_size": "0.01"},
    "BTC/USDT": {"tick_size": "0.01", "lot_size": "0.00001"},
}


def configured(*strategies: dict[str, Any]) -> Config:
    return Config.model_validate({"instruments": GRID, "strategies": strategies})


def test_every_entry_of_the_shipped_configuration_loads() -> None:
    config = load_config(ROOT, environ={})
    every = config.model_copy(
        update={"strategies": tuple(s.model_copy(update={"enabled": True}) for s in config.strategies)}
    )

    manager = build(every)

    assert manager.failures == {}
    assert [status.strategy_id for status in manager.status()] == [s.id for s in config.strategies]


async def test_trades_on_the_bus_become_intents_on_the_bus() -> None:
    bus = MemoryBus()
    manager = build(configured(BREAKOUT), bus)
    intents = bus.subscribe("strat.intent")
    running = asyncio.create_task(manager.run())
    await other_tasks()

    for number, price in enumerate([7.0] * 5 + [7.5], 1):
        await bus.publish_json("md.trades.ATOM/USDT", trade(number, price).to_dict())
    intent = OrderIntent.from_dict(await anext(intents))

    assert (intent.strategy_id, intent.side, intent.qty, intent.ts_local_ns) == ("breakout", "buy", 2.0, 6_000_000_000)
    await bus.close()
    await running


async def test_a_reload_reads_the_configuration_again() -> None:
    configs = [configured(BREAKOUT | {"id": "renamed"})]
    manager = build(configured(BREAKOUT), source=configs.pop)

    await manager.reload()

    assert [status.strategy_id for status in manager.status()] == ["renamed"]


def test_recorded_trades_give_a_handful_of_intents_and_the_same_ones_every_time(recorded_data: Path) -> None:
    config = configured(
        BREAKOUT
        | {
            "symbols": ["BTC/USDT"],
            "params": {"lookback_periods": 20, "breakout_threshold": 0.0005, "qty": 0.01, "period_s": 1.0},
        }
    )
    recording = Recording.at(recorded_data / "binance_spot_btcusdt_20240808.raw.gz")
    reader = RecordingReader(recording, config.instruments_table(), lambda bad: None)
    trades = [item for item in reader.items() if isinstance(item, TradeEvent)]

    def run() -> list[bytes]:
        manager = build(config, budget_s=None)
        return [codec.encode(answer) for event in trades for answer in filled_at_once(manager, event)]

    first = run()
    assert 3 <= len(first) <= 30
    assert run() == first
