"""The manager: who gets which event, what becomes of the answers, what survives the process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core import codec, ids
from core.bus import MemoryBus
from core.component import Durable
from core.contracts import (
    ClockTick,
    Contract,
    FillEvent,
    KillSwitchEvent,
    OHLCVBar,
    OrderCancel,
    OrderIntent,
    OrderUpdate,
    RiskDecision,
)
from core.errors import ConfigError, RejectedError
from strategies.base import StrategyBase
from strategies.identity import identity_of
from strategies.manager import StrategyManager
from strategies.registry import StrategyRegistry
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
from tests.support.waiting import other_tasks


class SellsThenCancels(StrategyBase):
    """Two intents for a trade, and its order is taken back as soon as it is open."""

    strategy_id = "sells_then_cancels"

    def on_event(self, event: Any) -> list[Any]:
        if isinstance(event, OrderUpdate):
            return [OrderCancel(event.order_id, event.symbol, self.strategy_id, 0)]
        sell = OrderIntent(self.strategy_id, SYMBOL, "sell", "limit", 1.0, limit_price=8.0)
        return [sell, sell]


def bar(timeframe: str, symbol: str = SYMBOL) -> OHLCVBar:
    return OHLCVBar(symbol, timeframe, 0, 60_000_000_000, 7.0, 7.0, 7.0, 7.0, 1.0)


def update_of(intent: Contract) -> OrderUpdate:
    assert isinstance(intent, OrderIntent)
    return OrderUpdate(
        ids.order_id(intent.intent_id), intent.intent_id, intent.strategy_id, "paper", intent.symbol, intent.side,
        intent.type, intent.qty, intent.limit_price, "open", 0.0, 0.0, 9,
    )  # fmt: skip


async def test_a_loaded_strategy_answers_an_event_on_the_bus_with_an_intent_on_the_bus() -> None:
    bus = MemoryBus()
    manager = StrategyManager(StrategyRegistry(), bus)
    await manager.load({"strategies": [entry(BuysEachTrade, id="a")]})
    intents = bus.subscribe("strat.intent")
    running = asyncio.create_task(manager.run())
    await other_tasks()

    await bus.publish_json(f"md.trades.{SYMBOL}", trade().to_dict())
    payload = await anext(intents)

    assert OrderIntent.from_dict(payload).strategy_id == "a"
    await bus.close()
    await running


async def test_a_malformed_message_on_the_bus_is_counted_and_the_next_one_is_answered() -> None:
    bus = MemoryBus()
    manager = StrategyManager(StrategyRegistry(), bus)
    await manager.load({"strategies": [entry(BuysEachTrade, id="a")]})
    intents = bus.subscribe("strat.intent")
    running = asyncio.create_task(manager.run())
    await other_tasks()

    bus._to_plain(f"md.trades.{SYMBOL}", {"symbol": SYMBOL, "price": -1})
    bus._to_plain(f"md.trades.{SYMBOL}", trade().to_dict() | {"_producer": "md_ingest", "_seq": 2})
    await anext(intents)

    assert manager.malformed == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def test_an_event_goes_to_the_strategies_that_ask_for_its_topic_and_symbol() -> None:
    manager = manager_of(
        entry(Remembers, id="trades"),
        entry(Remembers, id="minute_bars", events=["md.ohlcv.1m.*"]),
        entry(Remembers, id="all_of_btc", symbols=["BTC/USDT"], events=["md.*"]),
    )
    events = [trade(), bar("1m"), bar("5m"), bar("1m", "BTC/USDT"), ClockTick(5)]

    for event in events:
        manager.on_event(event)

    seen = {i: [events.index(e) for e in strategy_in(manager, i).seen] for i in ("trades", "minute_bars", "all_of_btc")}
    assert seen == {"trades": [0], "minute_bars": [1], "all_of_btc": [3, 4]}


def test_decisions_updates_and_fills_go_to_their_own_strategy_alone_and_need_no_subscription() -> None:
    manager = manager_of(entry(SellsThenCancels, id="a"), entry(Remembers, id="b"), entry(Remembers, id="c"))
    (intent, _) = manager.on_event(trade())
    assert isinstance(intent, OrderIntent)
    events: list[Contract] = [
        RiskDecision(intent.intent_id, False, "halted", {}, strategy_id="b"),
        fill_of(OrderIntent("b", SYMBOL, "buy", "market", 1.0, intent_id="i-1")),
        RiskDecision(intent.intent_id, True, "", {}),
    ]

    for event in events:
        manager.on_event(event)

    assert strategy_in(manager, "b").seen == [trade(), *events[:2]]
    assert strategy_in(manager, "c").seen == [trade()]


def test_the_hosts_own_events_are_nothing_to_a_strategy() -> None:
    manager = manager_of(entry(Remembers, id="a", events=["md.*"]))

    assert manager.on_event(KillSwitchEvent(True, "file", 5)) == []
    assert strategy_in(manager, "a").seen == []


def test_intents_get_the_time_of_the_event_and_an_id_that_tells_strategy_event_and_place() -> None:
    manager = manager_of(entry(SellsThenCancels, id="a"), entry(SellsThenCancels, id="b"))

    answers = [answer for answer in manager.on_event(trade()) if isinstance(answer, OrderIntent)]

    cause = identity_of(trade())
    assert [i.intent_id for i in answers] == [ids.intent_id(s, cause, n) for s in "ab" for n in (0, 1)]
    assert {i.ts_local_ns for i in answers} == {trade().ts_ns}


def test_a_cancel_passes_with_the_time_of_the_event() -> None:
    manager = manager_of(entry(SellsThenCancels, id="a"))
    update = update_of(manager.on_event(trade())[0])

    assert manager.on_event(update) == [OrderCancel(update.order_id, SYMBOL, "a", 9)]


def test_the_same_trade_gives_the_same_ids_in_every_life() -> None:
    one, other = manager_of(entry(BuysEachTrade, id="a")), manager_of(entry(BuysEachTrade, id="a"))

    assert one.on_event(trade(1)) == other.on_event(trade(1)) != one.on_event(trade(2))


def test_a_trade_that_is_delivered_twice_is_answered_once_also_over_a_restart() -> None:
    before, after = manager_of(entry(BuysEachTrade, id="a")), manager_of(entry(BuysEachTrade, id="a"))
    asked = before.on_event(trade(1))
    after.recover(None, asked)

    assert (len(asked), before.on_event(trade(1)), after.on_event(trade(1))) == (1, [], [])


def test_events_of_one_topic_that_differ_have_different_identities() -> None:
    events: list[Contract] = [
        trade(1),
        trade(2),
        trade(1, symbol="BTC/USDT"),
        bar("1m"),
        bar("5m"),
        ClockTick(5),
        ClockTick(6),
        RiskDecision("i-1", True, "", {}),
    ]

    assert len({identity_of(event) for event in events}) == len(events)


def test_a_trade_without_an_id_is_named_by_what_it_was_not_by_when_it_was_received() -> None:
    from dataclasses import replace

    nameless = replace(trade(), trade_id="", ts_recv_ns=1)

    assert identity_of(nameless) == identity_of(replace(nameless, ts_recv_ns=2))
    assert identity_of(nameless) != identity_of(replace(nameless, qty=2.0))


def test_the_same_input_gives_the_same_bytes() -> None:
    def run() -> bytes:
        manager = manager_of(entry(SellsThenCancels, id="a"), entry(BuysEachTrade, id="b"))
        return b"\n".join(codec.encode(answer) for n in range(1, 50) for answer in manager.on_event(trade(n)))

    assert run() == run()


def test_positions_come_back_from_the_transactions_of_the_ledger() -> None:
    first, second = manager_of(entry(BuysEachTrade, id="a")), manager_of(entry(BuysEachTrade, id="a"))
    transactions: list[tuple[Contract | None, list[Contract]]] = []
    for number in range(1, 20):
        answers = first.on_event(trade(number, 7.0 + number / 10))
        transactions.append((None, answers))
        for answer in answers:
            for part in (1, 2):
                fill = fill_of(answer, 7.0 + number / 10, qty=0.5, count=part)
                transactions.append((fill, first.on_event(fill)))

    for cause, events in transactions:
        second.recover(cause, events)

    assert isinstance(second, Durable)
    assert first.snapshot() == second.snapshot()
    assert strategy_in(second, "a").context.positions[SYMBOL] == strategy_in(first, "a").context.positions[SYMBOL]
    assert strategy_in(second, "a").context.positions[SYMBOL].qty == 19.0


def test_positions_may_be_restored_before_the_strategies_are_loaded() -> None:
    source, manager = manager_of(entry(BuysEachTrade, id="a")), manager_of()
    fill = fill_of(source.on_event(trade())[0])

    manager.recover(fill, [])
    manager.install({"strategies": [entry(BuysEachTrade, id="a")]})

    assert strategy_in(manager, "a").context.positions[SYMBOL].qty == 1.0


def test_a_fill_off_the_grid_is_refused_before_any_strategy_hears_of_it() -> None:
    manager = manager_of(entry(Remembers, id="a"))
    before = manager.snapshot()

    with pytest.raises(RejectedError):
        manager.on_event(FillEvent("o", SYMBOL, "buy", 0.001, 7.0, 0.0, 5, strategy_id="a"))
    assert manager.snapshot() == before
    assert strategy_in(manager, "a").seen == []


def test_a_disabled_entry_does_not_run() -> None:
    assert manager_of(entry(BuysEachTrade, id="a", enabled=False)).on_event(trade()) == []


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (None, r"strategies: expected a list, got NoneType"),
        ([{"id": "a"}], r"strategies\[0\]\.class: Field required"),
        ([entry(BuysEachTrade, colour="red")], r"strategies\[0\]\.colour: .*keys id, class, enabled"),
        ([entry(BuysEachTrade, symbols="BTC/USDT")], r"strategies\[0\]\.symbols"),
        ([entry(BuysEachTrade, events=["md.trade.*"])], r"got 'md.trade.\*'; did you mean md.trades.\*"),
        ([entry(BuysEachTrade, id="a"), entry(Remembers, id="a")], r"strategies\[1\]\.id: expected a unique id"),
    ],
)
def test_malformed_entries_are_refused_with_place_and_expectation(entries: object, text: str) -> None:
    manager = manager_of(entry(BuysEachTrade, id="running"))

    with pytest.raises(ConfigError, match=text):
        manager.install({"strategies": entries})
    assert len(manager.on_event(trade())) == 1


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"class": "no.such.Strategy"}, "No module named 'no'"),
        ({"symbols": ["DOGE/USDT"]}, "symbols: expected one of ATOM/USDT"),
        ({"class": "strategies.samples.trendline_break.TrendlineBreak", "params": {"lookback": 3}}, "lookback_periods"),
    ],
)
def test_a_strategy_that_cannot_be_loaded_is_told_of_and_the_others_run(wrong: dict[str, Any], text: str) -> None:
    manager = manager_of(entry(BuysEachTrade, id="wrong") | wrong, entry(BuysEachTrade, id="right"))

    assert text in manager.failures["wrong"]
    assert [status.strategy_id for status in manager.status()] == ["right"]
    assert len(manager.on_event(trade())) == 1
