"""The outcome of a finished sweep: its table, best first, and what was found out about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from backtest.contracts import BacktestConfig
    from backtest.metrics.returns import Ints
    from backtest.sweep.space.parameter_space import ParameterSpace
    from research.overfitting import OverfittingProbability


@dataclass(frozen=True, eq=False)
class SweepOutcome:
    """A finished sweep.

    Attributes:
        table: a row per set, best first: the parameters, the metrics, ``error``.
        names: of the parameters.
        maximize: whether more of ``objective`` is better.
        trials: how many sets were ever tried on this data, this sweep's included.
        overfitting: of the kept returns, where they were kept.
        notes: how it began and in which engine.
        files: what was written, by kind; ``returns`` only where they were kept.
        data: SHA-256 of the data in hex.
        span: where the data began and ended, UTC epoch ns.
        ends_ns: where the kept returns end, each where the next one begins; None where none were kept.
    """

    table: pd.DataFrame
    space: ParameterSpace
    objective: str
    maximize: bool
    config: BacktestConfig
    compiled: bool
    trials: int
    overfitting: OverfittingProbability | None
    notes: tuple[str, ...]
    files: dict[str, Path]
    data: str = ""
    span: tuple[int, int] = (0, 0)
    ends_ns: Ints | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return self.space.names
