"""The rows of a sweep while it runs and the table they become: numbers in columns, so that a million sets fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backtest.metrics.returns import Floats
from backtest.sweep.job import Outcome
from backtest.sweep.results.columns import is_count
from backtest.sweep.space.parameter_space import ParamSet
from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

HEADLINES: Final = (
    "sharpe_ratio", "deflated_sharpe", "total_return_pct", "max_drawdown_pct", "num_trades", "win_rate",
    "profit_factor", "final_equity",
)  # fmt: skip
"""The columns that come first, after the parameters."""
_ROWS: Final = 256  # to begin with


class Results:
    """What came of every set, by its number in the order of the search."""

    def __init__(self) -> None:
        self.sets: list[ParamSet] = []
        self.errors: dict[int, str] = {}
        self.columns: tuple[str, ...] = ()
        self._numbers: dict[ParamSet, int] = {}
        self._table: Floats = np.empty((0, 0))
        self._done: set[int] = set()
        self._restored: dict[int, ParamSet] = {}  # known from a checkpoint and not asked for yet

    def __len__(self) -> int:
        """How many sets have come out."""
        return len(self._done)

    def number(self, values: ParamSet) -> int:
        """That of a set, a new one for a new set. Raises ConfigError when the checkpoint has another set there."""
        number = self._numbers.setdefault(values, len(self.sets))
        if number == len(self.sets):
            if (recorded := self._restored.pop(number, values)) != values:
                raise ConfigError(f"checkpoint: expected set {number} to be {values}, got {recorded}; run with --fresh")
            self.sets.append(values)
        return number

    def restore(self, outcome: Outcome) -> None:
        """Take in what a checkpoint knows, before anything is asked."""
        self._restored[outcome.number] = outcome.values
        self.put(outcome)

    def knows(self, number: int) -> bool:
        """Whether the set has come out."""
        return number in self._done

    def put(self, outcome: Outcome) -> None:
        """Take one in."""
        self._done.add(outcome.number)
        if outcome.error:
            self.errors[outcome.number] = outcome.error
            return
        if not self.columns:
            self.columns = tuple(outcome.metrics)
        missing = outcome.number + 1 - len(self._table)
        if missing > 0 or not self._table.shape[1]:
            rows = max(outcome.number + 1, 2 * len(self._table), _ROWS)
            grown = np.full((rows, len(self.columns)), np.nan)
            if self._table.size:
                grown[: len(self._table)] = self._table
            self._table = grown
        self._table[outcome.number] = [outcome.metrics[name] for name in self.columns]

    def value(self, number: int, metric: str) -> float | None:
        """A metric of a set; None when the set failed. Raises ConfigError for a metric that there is not."""
        if number in self.errors:
            return None
        return float(self._table[number, self._column(metric)])

    def column(self, metric: str) -> Floats:
        """A metric of all sets; NaN where they failed."""
        if not self.columns:
            return np.full(len(self.sets), np.nan)
        column: Floats = self._full()[:, self._column(metric)]
        return column

    def frame(self, names: Sequence[str], extra: Mapping[str, Floats]) -> pd.DataFrame:
        """All sets in the order of the search: parameters, headlines, all other metrics, ``error``."""
        import pandas as pd

        parameters = {name: [values[at] for values in self.sets] for at, name in enumerate(names)}
        taken = set(parameters)
        metrics: dict[str, Any] = {name: self.column(name) for name in self.columns if name not in taken}
        metrics.update(extra)
        metrics.update({name: _integers(values) for name, values in metrics.items() if is_count(name)})
        ordered = [*(name for name in HEADLINES if name in metrics), *(n for n in metrics if n not in HEADLINES)]
        errors = {"error": [self.errors.get(number, "") for number in range(len(self.sets))]}
        return pd.DataFrame({**parameters, **{name: metrics[name] for name in ordered}, **errors})

    def _full(self) -> Floats:
        missing = len(self.sets) - len(self._table)
        if missing > 0:
            self._table = np.vstack([self._table, np.full((missing, len(self.columns)), np.nan)])
        return self._table[: len(self.sets)]

    def _column(self, metric: str) -> int:
        if metric not in self.columns:
            raise ConfigError(f"metric: expected one of {', '.join(sorted(self.columns))}, got {metric!r}")
        return self.columns.index(metric)


def ranked(frame: pd.DataFrame, metric: str, *, maximize: bool) -> pd.DataFrame:
    """The best first; equals in the order of the search, failed ones last."""
    order = frame.sort_values(metric, ascending=not maximize, kind="stable", na_position="last")
    return order.reset_index(drop=True)


def _integers(values: Floats) -> Any:
    """Counts as integers, missing ones as such."""
    import pandas as pd

    return pd.array(values).astype("Int64") if np.isnan(values).any() else values.astype(np.int64)
