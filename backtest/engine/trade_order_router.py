"""The order router on trades: takes market events through bars, strategies, risk engine and venue, in rounds.

The rounds are those of the embedded fleet (ADR 0010), and the one table of topics says who takes what: a market event
enters, every consumer takes it, their answers are the next round, until nobody answers any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from backtest.engine.order_router import MESSAGE_LIMIT
from backtest.engine.slots import StrategySlot
from backtest.engine.trade_venue import TradeVenue
from backtest.errors import EndlessAnswersError
from core import topics
from core.contracts import (
    Contract,
    FillEvent,
    OrderCancel,
    OrderEvent,
    OrderIntent,
    OrderUpdate,
    RiskDecision,
    RiskState,
)
from core.errors import RejectedError
from core.market.bars import BarAggregator
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions
from strategies.orders.prices import LastPrices

_LOGGED: Final = frozenset({OrderIntent, OrderCancel, RiskDecision, RiskState, OrderEvent, OrderUpdate, FillEvent})
_PRIVATE: Final = (FillEvent, OrderUpdate, RiskDecision)
_Handler = Callable[[Contract], Iterable[Contract]]


class EventHandler(Protocol):
    """A component without its host: answers events."""

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """The answers to an event."""
        ...


class HostedStrategies:
    """The strategies of a run, hosted as by the strategy manager, except that an exception ends the run."""

    def __init__(
        self, slots: Sequence[StrategySlot], positions: StrategyPositions, orders: OpenOrders, prices: LastPrices
    ) -> None:
        self._slots = slots
        self._by_id: Mapping[str, StrategySlot] = {slot.strategy_id: slot for slot in slots}
        self._positions = positions
        self._orders = orders
        self._prices = prices
        self._routes: dict[tuple[type[Contract], str, str], tuple[StrategySlot, ...]] = {}

    def on_event(self, event: Contract) -> Sequence[Contract]:
        """Update positions, orders and prices, then call the strategies it is for. Raises StrategyFailedError."""
        self._prices.learn(event)
        if isinstance(event, FillEvent):
            self._positions.apply(event)
        if isinstance(event, _PRIVATE):
            self._orders.learn(event)
            owner = self._by_id.get(event.strategy_id)
            return self._new_answers(owner, event) if owner is not None else ()
        key = (type(event), getattr(event, "symbol", ""), getattr(event, "timeframe", ""))
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._route(event, key[1])
        if len(route) == 1:
            return self._new_answers(route[0], event)
        return [answer for slot in route for answer in self._new_answers(slot, event)]

    def _route(self, event: Contract, symbol: str) -> tuple[StrategySlot, ...]:
        if type(event) not in topics.BY_CONTRACT:
            return ()  # local to the host, such as the kill switch
        topic = topics.topic_of(event)
        return tuple(slot for slot in self._slots if slot.wants(topic, symbol))

    def _new_answers(self, slot: StrategySlot, event: Contract) -> Sequence[Contract]:
        """The answers of a strategy without the intents that it asked for earlier."""
        admitted = slot.call(event)
        if not admitted:
            return ()
        answers = []
        for answer in admitted:
            if isinstance(answer, OrderIntent) and self._orders.asked(answer.intent_id):
                continue
            self._orders.learn(answer)
            answers.append(answer)
        return answers


class TradeOrderRouter:
    """Routes events between bars, strategies, risk engine and venue.

    Attributes:
        event_log: the orders, decisions and reports among their answers, in order.
        refused: the reasons of messages that a component could not take; live they are set aside as well.
    """

    def __init__(
        self, bars: BarAggregator, strategies: HostedStrategies, risk: EventHandler, venue: TradeVenue
    ) -> None:
        self.event_log: list[Contract] = []
        self.refused: list[str] = []
        self.venue = venue
        components: dict[str, EventHandler] = {
            BarAggregator.name: bars, "strategy_runner": strategies, "risk_engine": risk, venue.name: venue,
        }  # fmt: skip
        self._hosts: dict[str, tuple[frozenset[type[Contract]], _Handler]] = {
            name: (frozenset(row.contract for row in topics.consumed_by(name)), components[name].on_event)
            for name in topics.FLEET
            if name in components
        }
        self._handlers: dict[type[Contract], tuple[_Handler, ...]] = {
            contract: tuple(handler for inputs, handler in self._hosts.values() if contract in inputs)
            for contract in topics.BY_CONTRACT
        }

    def on_market_events(self, events: Sequence[Contract]) -> None:
        """Take the market events of one moment, and route all that follows.

        Raises:
            StrategyFailedError: a strategy raised.
            EndlessAnswersError: strategies answered their own orders without end.
        """
        if answers := self._round(events):
            self.settle(answers)

    def arrive(self) -> None:
        """Let the venue take the next message under way. Raises as ``on_market_events``."""
        try:
            answers = list(self.venue.arrive())
        except RejectedError as error:
            self.refused.append(str(error))
        else:
            self.settle(answers)

    def deliver_local(self, daemons: Iterable[str], event: Contract) -> None:
        """Give some daemons a local event, such as the kill switch's, and settle what follows."""
        answers: list[Contract] = []
        for name in daemons:
            if name in self._hosts:
                answers += self._hosts[name][1](event)
        self.settle(answers)

    def settle(self, messages: Sequence[Contract]) -> None:
        """Run rounds until nobody answers any more. Raises as ``on_market_events``."""
        limit = len(self.event_log) + MESSAGE_LIMIT
        while messages:
            self.event_log += [message for message in messages if type(message) in _LOGGED]
            if len(self.event_log) >= limit:
                raise EndlessAnswersError(
                    f"more than {MESSAGE_LIMIT} messages at {messages[-1].ts_ns}, the last one {messages[-1]}; "
                    "expected a strategy not to answer every answer to its own orders with another order"
                )
            messages = self._round(messages)

    def _round(self, messages: Sequence[Contract]) -> list[Contract]:
        answers: list[Contract] = []
        if len(messages) == 1:
            (message,) = messages
            self._deliver(message, self._handlers[type(message)], answers)
            return answers
        for inputs, handler in self._hosts.values():
            for message in messages:
                if type(message) in inputs:
                    self._deliver(message, (handler,), answers)
        return answers

    def _deliver(self, message: Contract, handlers: Iterable[_Handler], answers: list[Contract]) -> None:
        for handler in handlers:
            try:
                answers += handler(message)
            except RejectedError as error:  # an id used twice, a cancel of another's order
                self.refused.append(str(error))
