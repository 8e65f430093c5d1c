"""Look-ahead detection for vectorised strategies: frames indexed by time in, a column of targets per symbol out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from research.lookahead.decisions import Decision, Ints
from research.lookahead.detector import Slicing


def decisions_of_targets(targets: pd.DataFrame | pd.Series[float], symbol: str = "") -> list[Decision]:
    """Every value as a decision on the position to hold; NaN is no decision.

    Args:
        targets: indexed by the time at which its data is known; the columns of a frame are the symbols.
        symbol: of a plain series.
    """
    columns = dict(targets.items()) if isinstance(targets, pd.DataFrame) else {symbol: targets}
    times = _times(targets)
    decisions = []
    for name, column in columns.items():
        values = column.to_numpy(dtype=np.float64)
        decisions += [
            Decision(ts, str(name), "hold", (value,), value)
            for ts, value in zip(times.tolist(), values.tolist(), strict=True)
            if value == value
        ]
    return sorted(decisions, key=lambda decision: (decision.ts_ns, decision.symbol))


def frame_slicing() -> Slicing[pd.DataFrame]:
    """Of a frame indexed by time, whose rows are known at their index; the future is disturbed row by row."""
    return Slicing(times=_times, until=_until, since=_since, disturbed=_disturbed)


def run_of_targets(
    strategy: Callable[[pd.DataFrame], pd.DataFrame | pd.Series[float]], symbol: str = ""
) -> Callable[[pd.DataFrame], list[Decision]]:
    """A function from frame to targets as the detectors take it."""
    return lambda frame: decisions_of_targets(strategy(frame.copy()), symbol)


def _times(frame: pd.DataFrame | pd.Series[float]) -> Ints:
    index = pd.DatetimeIndex(frame.index)
    naive = index if index.tz is None else index.tz_convert("UTC").tz_localize(None)
    times: Ints = naive.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return times


def _until(frame: pd.DataFrame, ts_ns: int) -> pd.DataFrame:
    return frame.iloc[: int(np.searchsorted(_times(frame), ts_ns, side="right"))]


def _since(frame: pd.DataFrame, ts_ns: int) -> pd.DataFrame:
    return frame.iloc[int(np.searchsorted(_times(frame), ts_ns)) :]


def _disturbed(frame: pd.DataFrame, ts_ns: int, rng: np.random.Generator) -> pd.DataFrame:
    """Later rows in another order, and every one of them scaled by a factor of its own."""
    first = int(np.searchsorted(_times(frame), ts_ns, side="right"))
    later = frame.iloc[first:]
    order = rng.permutation(len(later))
    factor = np.exp(rng.normal(0.0, 0.2, len(later)))
    other = frame.copy()
    for name in frame.columns:
        values = later[name].to_numpy()[order]
        if np.issubdtype(values.dtype, np.floating):
            values = values * factor
        other.iloc[first:, other.columns.get_loc(name)] = values  # type: ignore[index]
    return other
