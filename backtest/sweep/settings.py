"""The settings of a sweep: its search, objective, engine, workers, memory and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from core.errors import ConfigError

EngineChoice = Literal["auto", "compiled", "event"]
SearchKind = Literal["grid", "random", "optuna"]
Direction = Literal["maximize", "minimize"]
ENGINES: Final = ("auto", "compiled", "event")
SEARCHES: Final = ("grid", "random", "optuna")
DIRECTIONS: Final = ("maximize", "minimize")


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """Everything about a sweep but strategy, run and parameters.

    Attributes:
        search: ``grid`` runs every combination, ``random`` draws ``trials`` of them, ``optuna`` lets results lead.
        seed: of the draws; the same seed, the same sets.
        objective: the metric that rows are sorted by and Optuna follows.
        direction: which way is better; None for what the metric itself says.
        engine: ``compiled`` for kernel strategies, ``event`` for any; ``auto`` is compiled wherever that gives the
            same figures.
        workers: processes, in the compiled engine threads; None for one per core, 0 for none.
        memory: bytes that the sweep may take, workers included; None for no bound.
        block: keep the returns of all sets per such time (``1d``, ``4h``; ``auto`` is a day, or a bar where the data
            is shorter than two days) for the probability of backtest overfitting; None keeps none.
        folder: where results, checkpoints and trials go; None for ``backtest`` in the installation's data folder.
        fresh: run again what a checkpoint knows.
    """

    search: SearchKind = "grid"
    trials: int = 100
    seed: int = 0
    objective: str = "sharpe_ratio"
    direction: Direction | None = None
    engine: EngineChoice = "auto"
    workers: int | None = None
    memory: int | None = None
    block: str | None = None
    folder: Path | None = None
    fresh: bool = False

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("search", self.search, SEARCHES),
            ("engine", self.engine, ENGINES),
            ("direction", self.direction, (None, *DIRECTIONS)),
        ):
            if value not in allowed:
                raise ConfigError(
                    f"SweepSettings.{name}: expected one of {', '.join(map(str, allowed))}, got {value!r}"
                )
        if self.workers is not None and self.workers < 0:
            raise ConfigError(f"SweepSettings.workers: expected at least 0, got {self.workers}")
