"""What ends a backtest: a strategy that fails, or strategies that answer each other without end."""

from __future__ import annotations

from core.contracts import Contract
from core.errors import FatalError


class StrategyFailedError(FatalError):
    """A strategy raised. Live it would be contained; a backtest with a hole in it would only mislead."""

    def __init__(self, strategy_id: str, event: Contract, cause: Exception) -> None:
        self.strategy_id = strategy_id
        self.event = event
        super().__init__(
            f"strategy {strategy_id} failed on {type(event).__name__} at {event.ts_ns}: {type(cause).__name__}: {cause}"
        )


class EndlessAnswersError(FatalError):
    """One moment led to more messages than any sound strategy sends."""
