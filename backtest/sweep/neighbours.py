"""Where a set stands among the others: what its neighbours reached, whether it is on an edge, a map of two parameters.

A good set in good company has found something; a good set among bad ones has found a coincidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backtest.metrics.returns import Floats
from backtest.sweep.space import Axis, Span, Value, places

if TYPE_CHECKING:
    import pandas as pd

_NEAREST: Final = 8  # neighbours where there is no grid
_FEWEST: Final = 2
_CLOSE: Final = 0.01  # of a span: this near its end is on its edge
_INSIDE: Final = 3  # values that a list must have to have an inside
_MOST_CELLS: Final = 40_000


def neighbours_median(
    table: pd.DataFrame, names: Sequence[str], metric: str, rows: Sequence[int]
) -> list[float | None]:
    """The median of a metric over the neighbours of these rows; None where there are none that came out.

    Neighbours are at most one step away in every parameter, in lists without order not at all; where that finds fewer
    than two, as among random draws, they are the eight nearest.
    """
    steps, ordered = _steps(table, names)
    values = table[metric].to_numpy(np.float64)
    known = ~np.isnan(values)
    found: list[float | None] = []
    for row in rows:
        apart = np.abs(steps - steps[row])
        apart[:, ~ordered] = np.where(apart[:, ~ordered] == 0.0, 0.0, np.inf)
        others = known.copy()
        others[row] = False
        near = others & (apart.max(axis=1) <= 1.0)
        if near.sum() < _FEWEST:
            scale = np.maximum(steps.max(axis=0), 1.0)
            distance = np.where(others, np.square(apart / scale).sum(axis=1), np.inf)
            closest = np.argsort(distance, kind="stable")[:_NEAREST]
            near = np.zeros(len(values), np.bool_)
            near[closest[np.isfinite(distance[closest])]] = True
        found.append(float(np.median(values[near])) if near.any() else None)
    return found


def edges(axes: Sequence[Axis], best: dict[str, Any]) -> list[str]:
    """The parameters whose best value is the smallest or largest that was tried: more may lie beyond."""
    return [axis.name for axis in axes if _on_edge(axis, best[axis.name])]


def heat_map(table: pd.DataFrame, names: Sequence[str], metric: str, *, maximize: bool = True) -> dict[str, Any] | None:
    """The best of a metric for each pair of values of the two parameters with the most of them; None for one alone."""
    counts = {name: table[name].nunique(dropna=False) for name in names}
    chosen = sorted(names, key=lambda name: -counts[name])[:2]
    if len(chosen) < 2 or counts[chosen[0]] * counts[chosen[1]] > _MOST_CELLS:
        return None
    x, y = sorted(chosen, key=list(names).index)
    across, up = (places(_plain(table, name)) for name in (x, y))
    cells: list[list[float | None]] = [[None] * len(across) for _ in up]
    better = max if maximize else min
    values = table[metric].to_numpy(np.float64).tolist()
    for at, to, value in zip(_plain(table, x), _plain(table, y), values, strict=True):
        if value == value:
            before = cells[up[to]][across[at]]
            cells[up[to]][across[at]] = value if before is None else better(before, value)
    sides = {"x": x, "y": y, "x_values": _in_order(across), "y_values": _in_order(up)}
    return {"metric": metric, **sides, "values": cells}


def _steps(table: pd.DataFrame, names: Sequence[str]) -> tuple[Floats, Any]:
    """Every row's place on every axis, and which axes have an order."""
    columns = [_plain(table, name) for name in names]
    found = [places(column) for column in columns]
    steps = [[place[value] for value in column] for place, column in zip(found, columns, strict=True)]
    ordered = [all(isinstance(v, int | float) and not isinstance(v, bool) for v in place) for place in found]
    return np.array(steps, np.float64).T, np.array(ordered)


def _plain(table: pd.DataFrame, name: str) -> list[Value]:
    found: list[Value] = table[name].tolist()
    return found


def _in_order(by_value: dict[Value, int]) -> list[Value]:
    return sorted(by_value, key=lambda value: by_value[value])


def _on_edge(axis: Axis, value: Any) -> bool:
    if isinstance(axis, Span):
        margin = 0.0 if axis.whole or axis.step is not None else _CLOSE * (axis.high - axis.low)
        last = axis.listed()[-1] if axis.step is not None else axis.high
        return axis.low < axis.high and not axis.low + margin < value < float(last) - margin  # type: ignore[arg-type]
    numbers = [each for each in axis.values if isinstance(each, int | float) and not isinstance(each, bool)]
    if len(numbers) < max(_INSIDE, len(axis.values)):
        return False
    return bool(value in (min(numbers), max(numbers)))
