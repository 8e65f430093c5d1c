"""What a strategy's answer leads to: risk engine, venue, books and back to the strategies, until all is said.

Messages of one moment go through one queue, first in first out, as over a bus without delay. Nothing here happens
unless somebody acts, which is what makes a backtest fast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from backtest.errors import EndlessAnswersError
from backtest.fill_simulator import FillSimulator, Moment
from backtest.risk_gate import Gate
from backtest.seats import Seat
from core.contracts import Contract, FillEvent, OrderCancel, OrderEvent, OrderIntent, OrderUpdate, RiskDecision
from strategies.books import StrategyBooks
from strategies.open_orders import OpenOrders

MESSAGE_LIMIT: Final = 10_000  # messages that one moment may lead to; more is taken for an endless exchange


class Desk:
    """Carries messages between strategies, risk engine and venue, and keeps them all in ``trail``."""

    def __init__(
        self, seats: Mapping[str, Seat], gate: Gate, venue: FillSimulator, books: StrategyBooks, orders: OpenOrders
    ) -> None:
        self.trail: list[Contract] = []
        self.now = Moment(0, 0)
        self.gate = gate
        self.venue = venue
        self._seats = seats
        self._books = books
        self._orders = orders

    def handle(self, answers: Iterable[OrderIntent | OrderCancel], now: Moment) -> None:
        """Everything that answers of strategies lead to."""
        self.now = now
        for answer in answers:
            self._orders.learn(answer)
        self._carry(deque(answers))

    def on_close(self, now: Moment) -> None:
        """A moment's bars close: what the risk engine says to the prices, what the venue fills."""
        self.now = now
        self.gate.hear(now.ts_ns - 1)  # nothing comes of prices within the engine's bounds
        self._carry(deque([*self.gate.hear(now.ts_ns), *self.venue.on_close(now)]))

    def on_open(self, now: Moment) -> None:
        """Bars that orders wait for open."""
        self.now = now
        messages = deque(self.gate.hear(now.ts_ns))
        for symbol, price in self.venue.opening(now.ts_ns):
            messages.extend(self.gate.hear_trade(symbol, price, now.ts_ns))
        messages.extend(self.venue.on_open(now))
        self._carry(messages)

    def _carry(self, messages: deque[Contract]) -> None:
        taken = 0
        while messages:
            taken += 1
            if taken > MESSAGE_LIMIT:
                raise EndlessAnswersError(
                    f"more than {MESSAGE_LIMIT} messages at {self.now.ts_ns}, the last one {messages[0]}; expected a "
                    "strategy not to answer every answer to its own orders with another order"
                )
            message = messages.popleft()
            self.trail.append(message)
            messages.extend(self._take(message))

    def _take(self, message: Contract) -> Iterable[Contract]:
        match message:
            case OrderIntent():
                return self.gate.decide(message)
            case OrderEvent():
                return self.venue.on_order(message, self.now)
            case OrderCancel():
                return self.venue.on_cancel(message)
            case FillEvent():
                said = self.gate.learn(message)
                self._books.book(message)
                return [*said, *self._tell(message)]
            case OrderUpdate():
                return [*self.gate.learn(message), *self._tell(message)]
            case RiskDecision():
                return self._tell(message)
            case _:
                return ()

    def _tell(self, message: RiskDecision | OrderUpdate | FillEvent) -> Iterable[Contract]:
        """Bring a private event to the strategy it belongs to."""
        self._orders.learn(message)
        seat = self._seats.get(message.strategy_id)
        if seat is None:
            return ()
        answers = seat.call(message)
        for answer in answers:
            self._orders.learn(answer)
        return answers
