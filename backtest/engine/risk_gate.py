"""The risk engine as a backtest hosts it: told a price when that may matter, not at every bar.

``RiskGate`` is the real engine. ``OpenGate`` stands in where a run asks for no risk engine: everything passes, but
still nothing reaches the venue without a decision, and that one says what it is.
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


class Gate(Protocol):
    """Decides intents and knows how long it may be left alone."""

    def decide(self, intent: OrderIntent) -> Iterable[Contract]:
        """The decision, and the order if allowed."""
        ...

    def learn(self, event: FillEvent | OrderUpdate) -> Iterable[Contract]:
        """What became of an order."""
        ...

    def hear(self, ts_ns: int) -> list[Contract]:
        """Learn every price up to a time; what the engine says to it."""
        ...

    def hear_trade(self, symbol: str, price: float, ts_ns: int) -> Iterable[Contract]:
        """Learn one price."""
        ...

    def next_ns(self, after_ns: int) -> int:
        """The first close after a time whose prices it has to hear at once."""
        ...


class RiskGate:
    """The real engine; closes reach it as trades of one unit."""

    def __init__(self, engine: RiskEngine, grids: Mapping[str, PriceGrid]) -> None:
        self._engine = engine
        self._by_symbol = grids
        self._grids = tuple(grids[symbol] for symbol in sorted(grids))
        self._heard = dict.fromkeys(grids, -1)  # by symbol: the bar whose close was told last

    def decide(self, intent: OrderIntent) -> Iterable[Contract]:
        """See ``Gate``."""
        states = self.hear(intent.ts_local_ns)
        return [*states, *self._engine.on_event(intent)] if states else self._engine.on_event(intent)

    def learn(self, event: FillEvent | OrderUpdate) -> Iterable[Contract]:
        """See ``Gate``."""
        return self._engine.on_event(event)

    def hear(self, ts_ns: int) -> list[Contract]:
        """See ``Gate``."""
        said: list[Contract] = []
        for grid in self._grids:
            at = grid.closed_by(ts_ns)
            if at > self._heard[grid.symbol]:
                self._heard[grid.symbol] = at
                said += self.hear_trade(grid.symbol, grid.series.close[at].item(), grid.closes_at[at])
        return said

    def hear_trade(self, symbol: str, price: float, ts_ns: int) -> Iterable[Contract]:
        """See ``Gate``."""
        return self._engine.on_event(_trade(symbol, price, 1.0, "buy", ts_ns))

    def next_ns(self, after_ns: int) -> int:
        """See ``Gate``."""
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


class OpenGate:
    """No risk engine: every intent is allowed, by a decision that says so."""

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """As the risk engine: the decision on an intent, and its order; nothing to anything else."""
        return self.decide(event) if isinstance(event, OrderIntent) else ()

    def decide(self, intent: OrderIntent) -> Iterable[Contract]:
        """See ``Gate``."""
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

    def learn(self, event: FillEvent | OrderUpdate) -> Iterable[Contract]:
        """See ``Gate``."""
        return ()

    def hear(self, ts_ns: int) -> list[Contract]:
        """See ``Gate``."""
        return []

    def hear_trade(self, symbol: str, price: float, ts_ns: int) -> Iterable[Contract]:
        """See ``Gate``."""
        return ()

    def next_ns(self, after_ns: int) -> int:
        """See ``Gate``."""
        return _NS_FAR
