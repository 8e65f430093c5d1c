"""The files of a sweep as the lint rules want them: its summary with the kept returns beside it, or a bare table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backtest.lint.search import Search, ends_told_by, market_returns
from backtest.metrics.returns import Floats, Ints
from backtest.result_file import read_json, shape_of
from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

    from backtest.data.run_bars import RecordedData
    from backtest.data.series import BarSeries

_KEPT: Final = ".f32"
"""Beside the checkpoint, for summaries that do not name the file: float32, a row per set, NaN where it failed."""
_EXPECTED: Final = "the results of a sweep, as `njord-ctl sweep` saves them (sweep_results.json)"


def is_search(content: object) -> bool:
    """Whether that is a sweep's ``sweep_results.json``."""
    summary = content.get("summary") if isinstance(content, Mapping) else None
    return isinstance(summary, Mapping) and isinstance(summary.get("config"), Mapping) and "symbol" in summary["config"]


def read_search(path: Path, names: Sequence[str], series: Sequence[BarSeries] = ()) -> Search:
    """A sweep's ``sweep_results.json``, with the returns it kept, or any table in CSV or Parquet. Raises ConfigError.

    Args:
        names: the parameters, which a bare table does not tell.
        series: the bars that the sweep ran on.
    """
    if path.suffix.lower() != ".json":
        return Search.of_table(_table(path), names)
    content = read_json(path, _EXPECTED)
    if not is_search(content):
        raise ConfigError(f"{path}: expected {_EXPECTED}, got {shape_of(content)}; name a sweep's file")
    return search_of(content, path, series)


def recorded_data_of(content: Mapping[str, Any], path: Path) -> RecordedData:
    """The data of a sweep, of the content of its ``sweep_results.json``; files of earlier versions know no checksum.

    Raises ConfigError.
    """
    from backtest.contracts import BacktestConfig
    from backtest.data.run_bars import RecordedData

    summary = content["summary"]
    try:
        return RecordedData(BacktestConfig.from_dict(summary["config"]), **summary.get("data", {}))
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path}: expected {_EXPECTED}, got {type(error).__name__}: {error}; run the sweep again"
        ) from None


def search_of(content: Mapping[str, Any], path: Path, series: Sequence[BarSeries] = ()) -> Search:
    """Of the content of a ``sweep_results.json`` at that path; its best set was chosen. Raises ConfigError."""
    import pandas as pd

    try:
        summary, table = content["summary"], pd.DataFrame(content["results"])
        odds = summary["overfitting"] or {}
        files, ends_ns = summary["files"], summary.get("ends_ns")
        named = Path(files["returns"]) if "returns" in files else Path(files["checkpoint"]).with_suffix(_KEPT)
        returns = _returns(path, named, len(table)) if odds or ends_ns else None
        ends = None if returns is None else _ends(ends_ns, series, len(returns))
        return Search(
            table=table,
            names=[axis["name"] for axis in summary["parameters"] if table[axis["name"]].nunique() > 1],
            trials=summary["trials_ever"],
            returns=returns,
            market=None if ends is None else market_returns(series, ends),
            strategy_id=summary["strategy_id"],
            symbol=summary["symbol"],
            pbo=odds.get("pbo"),
            loss=odds.get("probability_of_loss"),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected {_EXPECTED}, got {type(error).__name__}: {error}; run the sweep again"
        ) from None


def _returns(path: Path, named: Path, sets: int) -> Floats | None:
    """The kept returns, a column for every set that came out; None where the file is gone or another sweep's."""
    file = next(
        (candidate for candidate in (named, path.parent / named.parent.name / named.name) if candidate.is_file()), None
    )
    if file is None:
        return None
    kept = np.fromfile(file, np.float32)
    if not sets or not len(kept) or len(kept) % sets:
        return None
    rows = kept.reshape(sets, -1)
    complete: Floats = rows[np.isfinite(rows).all(axis=1)].T.astype(np.float64)
    return complete


def _ends(recorded: Sequence[int] | None, series: Sequence[BarSeries], periods: int) -> Ints | None:
    """Where the kept returns end; None where nobody knows."""
    if recorded is None:
        return ends_told_by(series, periods)
    return np.array(recorded, np.int64) if len(recorded) == periods else None


def _table(path: Path) -> pd.DataFrame:
    from backtest.data.table_file import read_table

    if not path.is_file():
        raise ConfigError(f"{path}: expected a sweep's results: JSON, or a CSV or Parquet table with a row per set")
    return read_table(path, "a table with a row per set")
