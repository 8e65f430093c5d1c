"""Errors that end a backtest: a strategy that fails, strategies that answer each other without end, its user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.errors import FatalError, NjordError

if TYPE_CHECKING:
    from core.contracts import Contract


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


class RunInterruptedError(NjordError):
    """The user ended it; the text says what there is so far. A command line ends with the status of an interruption."""
