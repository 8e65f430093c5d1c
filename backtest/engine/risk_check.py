"""The pre-trade risk check of a backtest: the risk engine, given prices when they may matter, not at every bar.

``EngineRiskCheck`` hosts the real engine. ``NoRiskCheck`` stands in where a run asks for none: it allows everything,
by a decision that says so, since nothing reaches the venue without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from backtest.data.price_grid import PriceGrid
from core import ids
from core.contracts import Contract, FillEvent, OrderIntent, OrderUpdate, RiskDecision, TradeEvent
from core.contracts.fast_init import trusted
from risk.engine import RiskEngine
from risk.order import order_of

VENUE: Final = "backtest"
NO_RISK: Final[Mapping[str, Any]] = {"risk": "off: every intent was allowed"}
_NS_FAR: Final = 2**63 - 1
_trade: Final = trusted(TradeEvent)  # prices of a series are checked as a whole
_decision: Final = trusted(RiskDecision)


class RiskCheck(Protocol):
    """Decides intents, and knows until when prices need not be reported to it."""

    def decide(self, intent: OrderIntent) -> Iterable[Contract]:
        """The decision, and the order if allowed."""
        ...

    def on_execution_report(self, event: FillEvent | OrderUpdate) -> Iterable[Contract]:
        """Take a fill or an update of an order."""
        ...

    def update_marks(self, ts_ns: int) -> list[Contract]:
        """Take the latest close of every symbol at a time; returns the engine's answers."""
        ...

    def set_mark(self, symbol: str, price: float, ts_ns: int) -> Iterable[Contract]:
        """Take one price; returns the engine's answers."""
        ...

    def next_ns(self, after_ns: int) -> int:
        """The first close after a time whose prices must be reported at once."""
        ...


class EngineRiskCheck:
    """The risk engine; closes reach it as trades of one unit."""

    def __init__(self, engine: RiskEngine, grids: Mapping[str, PriceGrid]) -> None:
        self._engine = engine
        self._by_symbol = grids
        self._grids = tuple(grids[symbol] for symbol in sorted(grids))
        self._marked = dict.fromkeys(grids, -1)  # by symbol: the bar whose close is the mark

    def decide(self, intent: OrderIntent) -> Iterable[Contract]:
        """See ``RiskCheck``."""
        states = self.update_marks(intent.ts_local_ns)
        return [*states, *self._engine.on_event(intent)] if states else self._engine.on_event(intent)

    def on_execution_report(self, event: FillEvent | OrderUpdate) -> Iterable[Contract]:
        """See ``RiskCheck``."""
        return self._engine.on_event(event)

    def update_marks(self, ts_ns: int) -> list[Contract]:
        """See ``RiskCheck``."""
        states: list[Contract] = []
        for grid in self._grids:
            at = grid.closed_by(ts_ns)
            if at > self._marked[grid.symbol]:
                self._marked[grid.symbol] = at
                states += self.set_mark(grid.symbol, grid.series.close[at].item(), grid.closes_at[at])
        return states

    def set_mark(self, symbol: str, price: float, ts_ns: int) -> Iterable[Contract]:
        """See ``RiskCheck``."""
        return self._engine.on_event(_trade(symbol, price, 1.0, "buy", ts_ns))

    def next_ns(self, after_ns: int) -> int:
        """See ``RiskCheck``."""
        bounds = self._engine.wake_up_bounds()
        if bounds.until_ns <= after_ns:
            return after_ns + 1
        due = bounds.until_ns
        if not bounds.prices:
            return due
        for symbol, low, high in bounds.prices:
            grid = self._by_symbol.get(symbol)
            if grid is not None and not grid.always_within(low, high):
                due = min(due, grid.closed_beyond(grid.closed_by(after_ns) + 1, low, high))
        return due


class NoRiskCheck:
    """The stand-in for a risk engine: allows every intent, by a decision that says so."""

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """As the risk engine: the decision on an intent, and its order; no answer to any other event."""
        return self.decide(event) if isinstance(event, OrderIntent) else ()

    def decide(self, intent: OrderIntent) -> Iterable[Contract]:
        """See ``RiskCheck``."""
        decision = _decision(
            intent_id=intent.intent_id,
            allowed=True,
            reason="",
            caps={},
            decision_id=ids.decision_id(intent.intent_id),
            strategy_id=intent.strategy_id,
            symbol=intent.symbol,
            ts_decided_ns=intent.ts_local_ns,
            inputs=dict(NO_RISK),
        )
        return (decision, order_of(intent, decision, VENUE))

    def on_execution_report(self, event: FillEvent | OrderUpdate) -> Iterable[Contract]:
        """See ``RiskCheck``."""
        return ()

    def update_marks(self, ts_ns: int) -> list[Contract]:
        """See ``RiskCheck``."""
        return []

    def set_mark(self, symbol: str, price: float, ts_ns: int) -> Iterable[Contract]:
        """See ``RiskCheck``."""
        return ()

    def next_ns(self, after_ns: int) -> int:
        """See ``RiskCheck``."""
        return _NS_FAR
