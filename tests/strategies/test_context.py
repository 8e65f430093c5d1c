"""What a strategy sees: fixed fields, live views, no way to trade but to return an intent."""

from __future__ import annotations

import dataclasses

import pytest

from core.bus import BusProto, MemoryBus
from core.component import Message
from core.contracts import OHLCVBar, PositionSnapshot
from core.errors import RejectedError
from strategies.context import AnyInstruments, StrategyContext
from strategies.hosting.listening_bus import ListeningBus
from tests.support.strategy_cases import (
    SYMBOL,
    BuysEachTrade,
    Remembers,
    entry,
    fill_of,
    manager_of,
    strategy_in,
    trade,
)


def context_of(strategy: type[Remembers] = Remembers) -> StrategyContext:
    manager = manager_of(entry(strategy, id="a", params={"n": [1]}))
    found: StrategyContext = strategy_in(manager, "a").context
    return found


def test_a_context_is_built_from_the_five_fields_and_stays_as_it_is() -> None:
    positions = {SYMBOL: PositionSnapshot(SYMBOL, 1.0, 7.0, 0.0, 1)}
    context = StrategyContext("s", MemoryBus(), positions, {SYMBOL: 7.5}, {"qty": 1.0})

    assert (context.positions[SYMBOL].qty, context.prices[SYMBOL], context.config["qty"]) == (1.0, 7.5, 1.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        context.strategy_id = "t"  # type: ignore[misc]  # the point of the test


def test_the_views_of_a_hosted_strategy_cannot_be_written_to() -> None:
    context = context_of()

    for view in (context.positions, context.prices, context.config):
        with pytest.raises(TypeError):
            view["x"] = 1  # type: ignore[index]  # the point of the test


def test_configured_symbols_have_a_flat_position_before_the_first_fill() -> None:
    assert context_of().positions[SYMBOL].qty == 0.0


def test_prices_follow_the_trades_and_the_bars_but_never_go_back_in_time() -> None:
    manager = manager_of(entry(Remembers, id="a"))
    prices = strategy_in(manager, "a").context.prices

    manager.on_event(trade(10, 7.5))
    manager.on_event(trade(9, 7.1))
    manager.on_event(OHLCVBar(SYMBOL, "1m", 0, 5_000_000_000, 6.0, 6.0, 6.0, 6.0, 1.0))
    assert prices[SYMBOL] == 7.5

    manager.on_event(OHLCVBar(SYMBOL, "1m", 0, 60_000_000_000, 8.0, 8.0, 8.0, 8.0, 1.0))
    assert prices[SYMBOL] == 8.0


def test_positions_are_the_strategys_own_and_current_when_it_is_told_of_a_fill() -> None:
    manager = manager_of(entry(BuysEachTrade, id="a"), entry(Remembers, id="b"))
    (intent,) = manager.on_event(trade())

    manager.on_event(fill_of(intent, price=7.0))

    assert strategy_in(manager, "a").context.positions[SYMBOL].qty == 1.0
    assert strategy_in(manager, "a").context.positions[SYMBOL].avg_price == 7.0
    assert strategy_in(manager, "b").context.positions[SYMBOL].qty == 0.0


async def test_a_strategy_may_publish_on_its_own_topics_but_on_none_of_the_fleets() -> None:
    bus: BusProto = ListeningBus(MemoryBus())

    with pytest.raises(RejectedError, match="returned from on_event"):
        await bus.publish_json("orders.accepted", {})
    with pytest.raises(RejectedError, match="returned from on_event"):
        await bus.publish([Message("strat.intent", trade())])


def test_without_instruments_every_symbol_trades_in_fine_steps() -> None:
    instruments = AnyInstruments()

    assert instruments["X/Y"].lots(0.00000001) == 1
    assert "X/Y" in instruments
