"""The surroundings of a set: the figures of its neighbours, the edges that it is on, a map of two parameters.

A good set in good company has found something; a good set among bad ones has found a coincidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backtest.metrics.returns import Floats
from backtest.sweep.space.parameter_space import Axis, Span, Value, places

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
    valid = ~np.isnan(values)
    medians: list[float | None] = []
    for row in rows:
        apart = np.abs(steps - steps[row])
        apart[:, ~ordered] = np.where(apart[:, ~ordered] == 0.0, 0.0, np.inf)
        others = valid.copy()
        others[row] = False
        near = others & (apart.max(axis=1) <= 1.0)
        if near.sum() < _FEWEST:
            scale = np.maximum(steps.max(axis=0), 1.0)
            distance = np.where(others, np.square(apart / scale).sum(axis=1), np.inf)
            closest = np.argsort(distance, kind="stable")[:_NEAREST]
            near = np.zeros(len(values), np.bool_)
            near[closest[np.isfinite(distance[closest])]] = True
        medians.append(float(np.median(values[near])) if near.any() else None)
    return medians


def edges(axes: Sequence[Axis], best: dict[str, Any]) -> list[str]:
    """The parameters whose best value is the smallest or largest that was tried: more may lie beyond."""
    return [axis.name for axis in axes if _on_edge(axis, best[axis.name])]


def heat_map(table: pd.DataFrame, names: Sequence[str], metric: str, *, maximize: bool = True) -> dict[str, Any] | None:
    """The best of a metric for each pair of values of the two parameters with the most of them; None for one alone."""
    counts = {name: table[name].nunique(dropna=False) for name in names}
    pair = sorted(names, key=lambda name: -counts[name])[:2]
    if len(pair) < 2 or counts[pair[0]] * counts[pair[1]] > _MOST_CELLS:
        return None
    x, y = sorted(pair, key=list(names).index)
    across, up = (places(_column_values(table, name)) for name in (x, y))
    cells: list[list[float | None]] = [[None] * len(across) for _ in up]
    better = max if maximize else min
    values = table[metric].to_numpy(np.float64).tolist()
    for at, to, value in zip(_column_values(table, x), _column_values(table, y), values, strict=True):
        if value == value:
            cell = cells[up[to]][across[at]]
            cells[up[to]][across[at]] = value if cell is None else better(cell, value)
    sides = {"x": x, "y": y, "x_values": _in_order(across), "y_values": _in_order(up)}
    return {"metric": metric, **sides, "values": cells}


def _steps(table: pd.DataFrame, names: Sequence[str]) -> tuple[Floats, Any]:
    """Every row's place on every axis, and which axes have an order."""
    columns = [_column_values(table, name) for name in names]
    places_of = [places(column) for column in columns]
    steps = [[place[value] for value in column] for place, column in zip(places_of, columns, strict=True)]
    ordered = [all(isinstance(v, int | float) and not isinstance(v, bool) for v in place) for place in places_of]
    return np.array(steps, np.float64).T, np.array(ordered)


def _column_values(table: pd.DataFrame, name: str) -> list[Value]:
    values: list[Value] = table[name].tolist()
    return values


def _in_order(by_value: dict[Value, int]) -> list[Value]:
    return sorted(by_value, key=lambda value: by_value[value])


def _on_edge(axis: Axis, value: Any) -> bool:
    if isinstance(axis, Span):
        margin = 0.0 if axis.is_integer or axis.step is not None else _CLOSE * (axis.high - axis.low)
        last = axis.listed()[-1] if axis.step is not None else axis.high
        return axis.low < axis.high and not axis.low + margin < value < float(last) - margin  # type: ignore[arg-type]
    numbers = [number for number in axis.values if isinstance(number, int | float) and not isinstance(number, bool)]
    if len(numbers) < max(_INSIDE, len(axis.values)):
        return False
    return bool(value in (min(numbers), max(numbers)))
