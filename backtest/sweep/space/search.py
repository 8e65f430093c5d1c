"""Searches through a parameter space: all sets at once (grid, random), or in rounds led by results (Optuna).

A search asks for sets and is told what came of them. It draws only from its seed and from what it was told, in order:
a sweep that resumes asks again, is told what the checkpoint knows, and stands where it stood.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from backtest.sweep.settings import Direction, SearchKind
from backtest.sweep.space.parameter_space import Axis, ParameterSpace, ParamSet, Span, Value
from core.errors import ConfigError

if TYPE_CHECKING:
    import optuna


ROUND: Final = 8  # sets that are asked for before any of them is told: the same whatever the number of workers
_TRIES_PER_SET: Final = 50  # suggestions that may break the constraint before it is called too narrow


class Search(Protocol):
    """Asks and is told in turns."""

    total: int
    """How many sets it asks for at most."""

    def ask(self) -> Sequence[ParamSet]:
        """The next sets; none when the search is over."""
        ...

    def tell(self, values: Mapping[ParamSet, float | None]) -> None:
        """The objective of every set of the latest round; None for one that failed."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """What the sets follow from, as plain JSON values."""
        ...


class ListSearch:
    """Sets that are known from the start."""

    def __init__(self, sets: Sequence[ParamSet]) -> None:
        self.total = len(sets)
        self._sets: Sequence[ParamSet] = sets
        self._left = True

    def ask(self) -> Sequence[ParamSet]:
        """All of them, once."""
        sets = self._sets if self._left else ()
        self._left = False
        return sets

    def tell(self, values: Mapping[ParamSet, float | None]) -> None:
        """Changes nothing."""

    def to_dict(self) -> dict[str, Any]:
        """The sets themselves."""
        return {"sets": [list(values) for values in self._sets]}


class OptunaSearch:
    """The tree-structured Parzen estimator of Optuna, asked in rounds of ``ROUND``."""

    def __init__(self, space: ParameterSpace, trials: int, seed: int, direction: Direction) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.total = trials
        self._space = space
        self._setup = {"trials": trials, "seed": seed, "direction": direction, "round": ROUND}
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study = optuna.create_study(direction=direction, sampler=sampler)
        self._asked: list[tuple[optuna.Trial, ParamSet]] = []
        self._known: dict[ParamSet, float | None] = {}

    def ask(self) -> Sequence[ParamSet]:
        """The next round. Raises ConfigError when hardly a suggestion meets the constraint."""
        from optuna.trial import TrialState

        missing = min(ROUND, self.total - len(self._known))
        fresh: dict[ParamSet, None] = {}
        for _ in range(_TRIES_PER_SET * missing):
            if len(fresh) == missing:
                break
            trial = self._study.ask()
            values = tuple(suggested(trial, axis) for axis in self._space.axes)
            if not self._space.allows(values):
                self._study.tell(trial, state=TrialState.PRUNED)  # as bad as it gets, so that it learns
            elif values in self._known:
                self._tell(trial, self._known[values])
            else:
                self._asked.append((trial, values))
                fresh[values] = None
        if not fresh and not self._known and self.total:
            raise ConfigError("search: none of the first suggestions meets the constraint between parameters")
        return list(fresh)

    def tell(self, values: Mapping[ParamSet, float | None]) -> None:
        """In the order of asking, so that the study is the same whatever came first."""
        for trial, asked in self._asked:
            self._known[asked] = values[asked]
            self._tell(trial, values[asked])
        self._asked = []

    def to_dict(self) -> dict[str, Any]:
        """Axes, constraint, seed and size."""
        import optuna

        rule = {"where": repr(self._space.constraint), "optuna": optuna.__version__}
        return {**self._space.to_dict(), **rule, **self._setup}

    def _tell(self, trial: optuna.Trial, value: float | None) -> None:
        from optuna.trial import TrialState

        if value is None:
            self._study.tell(trial, state=TrialState.FAIL)
        else:
            self._study.tell(trial, value)


def suggested(trial: optuna.Trial, axis: Axis) -> Value:
    """One value of an axis as Optuna suggests it: lists of rising numbers by their place, others as categories."""
    if isinstance(axis, Span):
        if axis.is_integer:
            step, low = 1 if axis.step is None else int(axis.step), int(axis.low)
            high = low + (int(axis.high) - low) // step * step
            return trial.suggest_int(axis.name, low, high, step=step, log=axis.log)
        if axis.step is not None:
            listed = axis.listed()
            return listed[trial.suggest_int(axis.name, 0, len(listed) - 1)]
        return trial.suggest_float(axis.name, axis.low, axis.high, log=axis.log)
    numbers = [value for value in axis.values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(axis.values) and numbers == sorted(numbers):
        return axis.values[trial.suggest_int(axis.name, 0, len(axis.values) - 1)]
    suggestion: Value = trial.suggest_categorical(axis.name, axis.values)
    return suggestion


def search_of(kind: SearchKind, space: ParameterSpace, trials: int, seed: int, direction: Direction) -> Search:
    """The search of that kind. Raises ConfigError for a space that it cannot go through."""
    if kind == "grid":
        return ListSearch(space.grid())
    if trials < 1:
        raise ConfigError(f"trials: expected at least 1, got {trials}")
    if kind == "random":
        return ListSearch(space.random(trials, seed))
    try:
        return OptunaSearch(space, trials, seed, direction)
    except ImportError:
        raise ConfigError("search optuna: expected the package optuna, got none; pip install optuna") from None
