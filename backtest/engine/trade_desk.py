"""What a market event leads to when trades are the input: bars, strategies, risk engine and venue, in rounds.

The rounds are those of the embedded fleet (ADR 0010), and who hears what is the one table of topics: a market event
enters, everybody takes it, what they answer is the next round, until nobody answers any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

from backtest.engine.desk import MESSAGE_LIMIT
from backtest.engine.seats import Seat
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

_KEPT: Final = frozenset({OrderIntent, OrderCancel, RiskDecision, RiskState, OrderEvent, OrderUpdate, FillEvent})
_PRIVATE: Final = (FillEvent, OrderUpdate, RiskDecision)
_Takes = Callable[[Contract], Iterable[Contract]]


class Takes(Protocol):
    """Whoever answers events: a component without its host."""

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """The answers to an event."""
        ...


class SeatedStrategies:
    """The strategies of a run as the strategy manager hosts them, but that an exception ends the run."""

    def __init__(self, seats: Sequence[Seat], books: StrategyPositions, orders: OpenOrders, prices: LastPrices) -> None:
        self._seats = seats
        self._by_id: Mapping[str, Seat] = {seat.strategy_id: seat for seat in seats}
        self._books = books
        self._orders = orders
        self._prices = prices
        self._routes: dict[tuple[type[Contract], str, str], tuple[Seat, ...]] = {}

    def on_event(self, event: Contract) -> Sequence[Contract]:
        """Bring positions, orders and prices up to date, then ask whom the event is for. Raises StrategyFailedError."""
        self._prices.learn(event)
        if isinstance(event, FillEvent):
            self._books.apply(event)
        if isinstance(event, _PRIVATE):
            self._orders.learn(event)
            owner = self._by_id.get(event.strategy_id)
            return self._asked(owner, event) if owner is not None else ()
        key = (type(event), getattr(event, "symbol", ""), getattr(event, "timeframe", ""))
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = self._route(event, key[1])
        if len(route) == 1:
            return self._asked(route[0], event)
        return [answer for seat in route for answer in self._asked(seat, event)]

    def _route(self, event: Contract, symbol: str) -> tuple[Seat, ...]:
        if type(event) not in topics.BY_CONTRACT:
            return ()  # local to the host, such as the kill switch
        topic = topics.topic_of(event)
        return tuple(seat for seat in self._seats if seat.wants(topic, symbol))

    def _asked(self, seat: Seat, event: Contract) -> Sequence[Contract]:
        """What a strategy answers, but for an intent that it asked for before."""
        said = seat.call(event)
        if not said:
            return ()
        answers = []
        for answer in said:
            if isinstance(answer, OrderIntent) and self._orders.asked(answer.intent_id):
                continue
            self._orders.learn(answer)
            answers.append(answer)
        return answers


class TradeDesk:
    """Carries events between bars, strategies, risk engine and venue, and keeps what they say in ``trail``.

    ``refused`` are messages that somebody could not take; live they are set aside as well.
    """

    def __init__(self, bars: BarAggregator, strategies: SeatedStrategies, risk: Takes, venue: TradeVenue) -> None:
        self.trail: list[Contract] = []
        self.refused: list[str] = []
        self.venue = venue
        components: dict[str, Takes] = {
            BarAggregator.name: bars, "strategy_runner": strategies, "risk_engine": risk, venue.name: venue,
        }  # fmt: skip
        self._hosts: dict[str, tuple[frozenset[type[Contract]], _Takes]] = {
            name: (frozenset(row.contract for row in topics.consumed_by(name)), components[name].on_event)
            for name in topics.FLEET
            if name in components
        }
        self._takers: dict[type[Contract], tuple[_Takes, ...]] = {
            contract: tuple(take for inputs, take in self._hosts.values() if contract in inputs)
            for contract in topics.BY_CONTRACT
        }

    def hear(self, events: Sequence[Contract]) -> None:
        """Take the market events of one moment in, and all that follows.

        Raises:
            StrategyFailedError: a strategy raised.
            EndlessAnswersError: strategies answered their own orders without end.
        """
        if answers := self._round(events):
            self.settle(answers)

    def arrive(self) -> None:
        """Let the venue take in what arrives next. Raises as ``hear``."""
        try:
            answers = list(self.venue.arrive())
        except RejectedError as error:
            self.refused.append(str(error))
        else:
            self.settle(answers)

    def tell(self, daemons: Iterable[str], event: Contract) -> None:
        """Give some of them a local event, such as the kill switch's, and settle what follows."""
        answers: list[Contract] = []
        for name in daemons:
            if name in self._hosts:
                answers += self._hosts[name][1](event)
        self.settle(answers)

    def settle(self, messages: Sequence[Contract]) -> None:
        """Round after round until all is said. Raises as ``hear``."""
        limit = len(self.trail) + MESSAGE_LIMIT
        while messages:
            self.trail += [message for message in messages if type(message) in _KEPT]
            if len(self.trail) >= limit:
                raise EndlessAnswersError(
                    f"more than {MESSAGE_LIMIT} messages at {messages[-1].ts_ns}, the last one {messages[-1]}; "
                    "expected a strategy not to answer every answer to its own orders with another order"
                )
            messages = self._round(messages)

    def _round(self, messages: Sequence[Contract]) -> list[Contract]:
        answers: list[Contract] = []
        if len(messages) == 1:
            (message,) = messages
            self._give(message, self._takers[type(message)], answers)
            return answers
        for inputs, take in self._hosts.values():
            for message in messages:
                if type(message) in inputs:
                    self._give(message, (take,), answers)
        return answers

    def _give(self, message: Contract, takers: Iterable[_Takes], answers: list[Contract]) -> None:
        for take in takers:
            try:
                answers += take(message)
            except RejectedError as error:  # an id used twice, a cancel of another's order
                self.refused.append(str(error))
