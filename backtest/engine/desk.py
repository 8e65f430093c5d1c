"""What a strategy's answer leads to: risk engine, venue, books and back to the strategies, until all is said.

Messages of one moment go through one queue, first in first out, as over a bus without delay. Nothing here happens
unless somebody acts, which is what makes a backtest fast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from backtest.engine.risk_gate import Gate
from backtest.engine.seats import Seat
from backtest.errors import EndlessAnswersError
from backtest.fill_simulator import FillSimulator, Moment
from core.contracts import Contract, FillEvent, OrderCancel, OrderEvent, OrderIntent, OrderUpdate, RiskDecision
from core.errors import RejectedError
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions

MESSAGE_LIMIT: Final = 10_000  # messages that one moment may lead to; more is taken for an endless exchange


class Desk:
    """Carries messages between strategies, risk engine and venue, and keeps them all in ``trail``."""

    def __init__(
        self, seats: Mapping[str, Seat], gate: Gate, venue: FillSimulator, books: StrategyPositions, orders: OpenOrders
    ) -> None:
        self.trail: list[Contract] = []
        self.now = Moment(0, 0)
        self.gate = gate
        self.venue = venue
        self.refused: list[str] = []
        self._seats = seats
        self._books = books
        self._orders = orders
        self._takes: dict[type[Contract], Callable[[Any], Iterable[Contract]]] = {
            OrderIntent: gate.decide,
            OrderEvent: self._on_order,
            OrderCancel: venue.on_cancel,
            FillEvent: self._on_fill,
            OrderUpdate: self._on_update,
            RiskDecision: self._on_decision,
        }

    def handle(self, answers: Sequence[OrderIntent | OrderCancel], now: Moment) -> None:
        """Everything that answers of strategies lead to."""
        for answer in answers:
            self._orders.learn(answer)
        self.carry(answers, now)

    def on_close(self, now: Moment) -> None:
        """A moment's bars close: what the risk engine says to the prices, what the venue fills."""
        self.gate.hear(now.ts_ns - 1)  # nothing comes of prices within the engine's bounds
        self.carry([*self.gate.hear(now.ts_ns), *self.venue.on_close(now)], now)

    def on_open(self, now: Moment) -> None:
        """Bars that orders wait for open."""
        said = self.gate.hear(now.ts_ns)
        for symbol, price in self.venue.opening(now.ts_ns):
            said += self.gate.hear_trade(symbol, price, now.ts_ns)
        self.carry([*said, *self.venue.on_open(now)], now)

    def carry(self, messages: Iterable[Contract], now: Moment) -> None:
        """Bring messages where they go, and what is answered to them, until all is said.

        Raises:
            StrategyFailedError: a strategy raised.
            EndlessAnswersError: strategies answered their own orders without end.
        """
        self.now = now
        queue, room, takes = deque(messages), MESSAGE_LIMIT, self._takes
        while queue:
            room -= 1
            if room < 0:
                raise EndlessAnswersError(
                    f"more than {MESSAGE_LIMIT} messages at {now.ts_ns}, the last one {queue[0]}; expected a strategy "
                    "not to answer every answer to its own orders with another order"
                )
            message = queue.popleft()
            self.trail.append(message)
            take = takes.get(type(message))
            if take is not None:
                try:
                    queue.extend(take(message))
                except RejectedError as error:  # an id used twice, a cancel of another's order: live it is skipped too
                    self.refused.append(str(error))

    def _on_order(self, order: OrderEvent) -> Iterable[Contract]:
        return self.venue.on_order(order, self.now)

    def _on_fill(self, fill: FillEvent) -> Iterable[Contract]:
        said = self.gate.learn(fill)
        self._books.apply(fill)
        self._orders.learn(fill)
        answers = self._tell(fill)
        return [*said, *answers] if said else answers

    def _on_update(self, update: OrderUpdate) -> Iterable[Contract]:
        said = self.gate.learn(update)
        if update.done:
            self._orders.learn(update)
        answers = self._tell(update)
        return [*said, *answers] if said else answers

    def _on_decision(self, decision: RiskDecision) -> Iterable[Contract]:
        if not decision.allowed:
            self._orders.learn(decision)
        return self._tell(decision)

    def _tell(self, message: RiskDecision | OrderUpdate | FillEvent) -> Iterable[Contract]:
        """Bring a private event to the strategy it belongs to."""
        seat = self._seats.get(message.strategy_id)
        if seat is None:
            return ()
        answers = seat.call(message)
        for answer in answers:
            self._orders.learn(answer)
        return answers
