"""The figures of a sweep's table: the metrics of every backtest, and the columns that only sweeps have.

A figure is declared once, with the direction that a search takes; what is not declared cannot be an objective.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from backtest.metrics.table import BY_NAME, Better, Metric, Unit
from core.errors import ConfigError

if TYPE_CHECKING:
    from backtest.sweep.settings import Direction


@dataclass(frozen=True, slots=True)
class Column:
    """A figure that only sweeps have."""

    name: str
    unit: Unit
    better: Better

    @property
    def is_count(self) -> bool:
        """Whether every value is a whole number."""
        return self.unit is Unit.COUNT


COLUMNS: Final = (
    Column("final_equity", Unit.MONEY, Better.MORE),
    Column("deflated_sharpe", Unit.FRACTION, Better.MORE),
    Column("wins", Unit.COUNT, Better.MORE),
    Column("gross_profit", Unit.MONEY, Better.MORE),
    Column("gross_loss", Unit.MONEY, Better.LESS),
    Column("turnover", Unit.MONEY, Better.LESS),
    Column("fills", Unit.COUNT, Better.LESS),
    Column("denied", Unit.COUNT, Better.LESS),
    Column("sharpe_per_period", Unit.RATIO, Better.MORE),
    Column("returns_count", Unit.COUNT, Better.NONE),
    Column("returns_mean", Unit.FRACTION, Better.MORE),
    Column("returns_variance", Unit.RATIO, Better.LESS),
    Column("returns_skew", Unit.RATIO, Better.MORE),
    Column("returns_kurtosis", Unit.RATIO, Better.LESS),
)
"""Losses, turnover and fees are amounts above 0."""
_BY_NAME: Final[dict[str, Metric | Column]] = {**BY_NAME, **{column.name: column for column in COLUMNS}}


def is_count(name: str) -> bool:
    """Whether every value of a figure is a whole number; False for what is no figure."""
    figure = _BY_NAME.get(name)
    return figure is not None and figure.is_count


def direction_of(objective: str) -> Direction:
    """The way that a search takes by default. Raises ConfigError for what is no figure, or has no better side."""
    figure = _BY_NAME.get(objective)
    if figure is None:
        raise ConfigError(f"metric: expected one of {', '.join(sorted(_BY_NAME))}, got {objective!r}")
    if figure.better is Better.NONE:
        raise ConfigError(
            f"objective {objective}: neither more nor less of it is better in itself; give --direction maximize or "
            "minimize (SweepSettings.direction)"
        )
    return "maximize" if figure.better is Better.MORE else "minimize"
