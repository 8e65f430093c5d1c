"""What the strategy tests share: managers of test strategies, events with a price, and strategies written to files."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

from core import ids
from core.bus import MemoryBus
from core.contracts import (
    Contract,
    FillEvent,
    OrderCancel,
    OrderIntent,
    OrderStatus,
    OrderUpdate,
    RiskDecision,
    TradeEvent,
)
from core.instruments import Instrument, Instruments
from strategies.base import StrategyBase
from strategies.entries import params_of
from strategies.manager import StrategyManager
from strategies.registry import StrategyRegistry
from strategies.target_orders import Direction, TargetOrders, TargetParams

SYMBOL = "ATOM/USDT"
INSTRUMENTS = Instruments(
    Instrument(symbol, Decimal("0.001"), Decimal("0.01")) for symbol in (SYMBOL, "BTC/USDT", "ETH/USDT")
)


class BuysEachTrade(StrategyBase):
    """One market order for each event it is given."""

    strategy_id = "buys_each_trade"

    def on_event(self, event: Any) -> Iterable[OrderIntent]:
        if isinstance(event, TradeEvent):
            yield OrderIntent(self.strategy_id, event.symbol, "buy", "market", 1.0)


class Remembers(StrategyBase):
    """Keeps every event."""

    strategy_id = "remembers"

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.seen: list[Contract] = []

    def on_event(self, event: Any) -> Iterable[OrderIntent]:
        self.seen.append(event)
        return ()


class Aims(StrategyBase):
    """Aims at what a test wants, on the next trade."""

    strategy_id = "aims"

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self.orders = TargetOrders(context, params_of(context, TargetParams))
        self.wanted: tuple[Direction, float] | None = None

    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        yield from self.orders.settle(event)
        if isinstance(event, TradeEvent) and self.wanted is not None:
            (direction, price), self.wanted = self.wanted, None
            yield from self.orders.aim(event, event.symbol, direction, price)

    def state(self) -> Any:
        return self.orders.state()

    def load_state(self, state: Any) -> None:
        self.orders.load_state(state)


def entry(strategy_class: type[StrategyBase] | str, **changes: Any) -> dict[str, Any]:
    """A configuration entry of a class or class path."""
    path = (
        strategy_class
        if isinstance(strategy_class, str)
        else f"{strategy_class.__module__}.{strategy_class.__qualname__}"
    )
    plain = {"id": path.rpartition(".")[2], "class": path, "symbols": [SYMBOL], "events": ["md.trades.*"]}
    return plain | changes


def manager_of(*entries: dict[str, Any], **options: Any) -> StrategyManager:
    """A manager that runs the entries."""
    manager = StrategyManager(StrategyRegistry(), MemoryBus(), **({"instruments": INSTRUMENTS} | options))
    manager.install({"strategies": list(entries)})
    return manager


def strategy_in(manager: StrategyManager, strategy_id: str) -> Any:
    """The running instance, for a look inside."""
    return manager._hosted[strategy_id].strategy


def trade(number: int = 1, price: float = 7.0, symbol: str = SYMBOL) -> TradeEvent:
    """The ``number``-th trade, a second after the one before."""
    return TradeEvent(symbol, price, 1.0, "buy", number * 1_000_000_000, trade_id=str(number))


def fill_of(intent: Any, price: float = 7.0, qty: float | None = None, count: int = 1) -> FillEvent:
    """The ``count``-th fill of an intent's order."""
    order = ids.order_id(intent.intent_id)
    return FillEvent(
        order, intent.symbol, intent.side, qty or intent.qty, price, 0.0, 10_000_000_000 + count,
        fill_id=ids.fill_id(order, count), intent_id=intent.intent_id, strategy_id=intent.strategy_id,
    )  # fmt: skip


def update_of(intent: Any, status: OrderStatus = "open", filled_qty: float = 0.0) -> OrderUpdate:
    """The state of an intent's order at the venue."""
    return OrderUpdate(
        ids.order_id(intent.intent_id), intent.intent_id, intent.strategy_id, "paper", intent.symbol, intent.side,
        intent.type, intent.qty, intent.limit_price, status, filled_qty, 7.0 if filled_qty else 0.0, 9,
    )  # fmt: skip


def denial_of(intent: Any) -> RiskDecision:
    """The risk engine's refusal of an intent."""
    return RiskDecision(
        intent.intent_id, False, "halted", {}, strategy_id=intent.strategy_id, symbol=intent.symbol
    )  # fmt: skip


def filled_at_once(manager: StrategyManager, event: TradeEvent) -> list[OrderIntent]:
    """The intents that a trade is answered with, each filled in full at the trade's price."""
    intents = [answer for answer in manager.on_event(event) if isinstance(answer, OrderIntent)]
    for intent in intents:
        manager.on_event(fill_of(intent, event.price))
    return intents


def write_strategy(folder: Path, name: str, body: str, class_name: str = "Mine") -> str:
    """A strategy module whose ``on_event`` has the given body; returns its class path."""
    indented = body.replace("\n", "\n        ")
    (folder / f"{name}.py").write_text(
        "from core.contracts import OrderIntent\n"
        "from strategies.base import StrategyBase\n\n\n"
        f"class {class_name}(StrategyBase):\n"
        f"    strategy_id = {name!r}\n\n"
        f"    def on_event(self, event):\n        {indented}\n"
    )
    return f"{name}.{class_name}"
