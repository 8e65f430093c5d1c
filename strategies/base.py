"""The one plug-point for trading logic: a strategy takes an event and answers with order intents and cancels.

Whoever hosts it (the runner daemon, the embedded fleet, the backtester) injects the context.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from core.contracts import OrderCancel, OrderIntent

if TYPE_CHECKING:
    from strategies.context import StrategyContext


class StrategyBase(ABC):
    """Trading logic. ``strategy_id`` on the class is its registered name; the instance takes the configured id."""

    strategy_id: str

    def __init__(self, context: StrategyContext) -> None:
        self.context = context
        self.strategy_id = context.strategy_id

    @abstractmethod
    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        """Handle one event, yield zero or more intents and cancels of its own orders (``context.orders``).

        Plain and synchronous: no I/O, no clock, no randomness; time is ``event.ts_ns``. Market data comes as
        configured; decisions, order updates and fills come when they are the strategy's own.
        """


@runtime_checkable
class Reloadable(Protocol):
    """A strategy that hands what it has learnt to its successor on a hot reload; others start cold."""

    def state(self) -> Any:
        """The state that the successor needs."""
        ...

    def load_state(self, state: Any) -> None:
        """Take over from the predecessor. Raising keeps the predecessor in place."""
        ...
