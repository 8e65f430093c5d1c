"""The order router: takes intents through the risk check to the venue, and the reports back to the strategies.

Messages of one moment go through one queue, first in first out, as over a bus without delay. The router only runs
when somebody acts, which is what makes a backtest fast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from backtest.engine.risk_check import RiskCheck
from backtest.engine.slots import StrategySlot
from backtest.errors import EndlessAnswersError
from backtest.fill_simulator import FillSimulator, Moment
from core.contracts import Contract, FillEvent, OrderCancel, OrderEvent, OrderIntent, OrderUpdate, RiskDecision
from core.errors import RejectedError
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions

MESSAGE_LIMIT: Final = 10_000  # messages that one moment may lead to; more is taken for an endless exchange


class OrderRouter:
    """Routes messages between strategies, risk engine and venue.

    Attributes:
        event_log: every message in order.
        refused: the reasons of messages that a component could not take; live they are set aside as well.
    """

    def __init__(
        self,
        slots: Mapping[str, StrategySlot],
        risk_check: RiskCheck,
        venue: FillSimulator,
        positions: StrategyPositions,
        orders: OpenOrders,
    ) -> None:
        self.event_log: list[Contract] = []
        self.now = Moment(0, 0)
        self.risk_check = risk_check
        self.venue = venue
        self.refused: list[str] = []
        self._slots = slots
        self._positions = positions
        self._orders = orders
        self._handlers: dict[type[Contract], Callable[[Any], Iterable[Contract]]] = {
            OrderIntent: risk_check.decide,
            OrderEvent: self._on_order,
            OrderCancel: venue.on_cancel,
            FillEvent: self._on_fill,
            OrderUpdate: self._on_update,
            RiskDecision: self._on_decision,
        }

    def handle(self, answers: Sequence[OrderIntent | OrderCancel], now: Moment) -> None:
        """Route the answers of strategies, and all that follows. Raises as ``route``."""
        for answer in answers:
            self._orders.learn(answer)
        self.route(answers, now)

    def on_close(self, now: Moment) -> None:
        """Process the close of a moment's bars: the risk engine's answers to the prices, the venue's fills."""
        self.risk_check.update_marks(now.ts_ns - 1)  # nothing follows from prices within the engine's bounds
        self.route([*self.risk_check.update_marks(now.ts_ns), *self.venue.on_close(now)], now)

    def on_open(self, now: Moment) -> None:
        """Process the open of the bars that orders wait for."""
        states = self.risk_check.update_marks(now.ts_ns)
        for symbol, price in self.venue.opening(now.ts_ns):
            states += self.risk_check.set_mark(symbol, price, now.ts_ns)
        self.route([*states, *self.venue.on_open(now)], now)

    def route(self, messages: Iterable[Contract], now: Moment) -> None:
        """Deliver messages, and the answers to them, until nobody answers any more.

        Raises:
            StrategyFailedError: a strategy raised.
            EndlessAnswersError: strategies answered their own orders without end.
        """
        self.now = now
        queue, remaining, handlers = deque(messages), MESSAGE_LIMIT, self._handlers
        while queue:
            remaining -= 1
            if remaining < 0:
                raise EndlessAnswersError(
                    f"more than {MESSAGE_LIMIT} messages at {now.ts_ns}, the last one {queue[0]}; expected a strategy "
                    "not to answer every answer to its own orders with another order"
                )
            message = queue.popleft()
            self.event_log.append(message)
            handler = handlers.get(type(message))
            if handler is not None:
                try:
                    queue.extend(handler(message))
                except RejectedError as error:  # an id used twice, a cancel of another's order
                    self.refused.append(str(error))

    def _on_order(self, order: OrderEvent) -> Iterable[Contract]:
        return self.venue.on_order(order, self.now)

    def _on_fill(self, fill: FillEvent) -> Iterable[Contract]:
        states = self.risk_check.on_execution_report(fill)
        self._positions.apply(fill)
        self._orders.learn(fill)
        answers = self._notify(fill)
        return [*states, *answers] if states else answers

    def _on_update(self, update: OrderUpdate) -> Iterable[Contract]:
        states = self.risk_check.on_execution_report(update)
        if update.done:
            self._orders.learn(update)
        answers = self._notify(update)
        return [*states, *answers] if states else answers

    def _on_decision(self, decision: RiskDecision) -> Iterable[Contract]:
        if not decision.allowed:
            self._orders.learn(decision)
        return self._notify(decision)

    def _notify(self, message: RiskDecision | OrderUpdate | FillEvent) -> Iterable[Contract]:
        """Give a private event to the strategy it belongs to."""
        slot = self._slots.get(message.strategy_id)
        if slot is None:
            return ()
        answers = slot.call(message)
        for answer in answers:
            self._orders.learn(answer)
        return answers
