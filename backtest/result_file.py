"""The file of a result: written by a run, read by the report, the lint and whoever goes on from it.

Light: what reads a file imports nothing heavy before the file has been understood as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from core.errors import ConfigError

if TYPE_CHECKING:
    from backtest.contracts import BacktestResult

EXPECTED: Final = "a backtest's result, as `njord-ctl backtest` saves it (result_*.json)"
_SHOWN: Final = 4  # keys of an object that is something else


def write_result(result: BacktestResult, path: Path) -> None:
    """Save a result. Raises OSError."""
    path.write_text(json.dumps(result.to_dict()) + "\n", encoding="utf-8")


def read_result(path: Path) -> BacktestResult:
    """A saved result, or what ``--json`` printed. Raises ConfigError."""
    return result_of(read_json(path, EXPECTED), path)


def result_of(content: Any, path: Path, expected: str = EXPECTED) -> BacktestResult:
    """The content of a result's file at that path. Raises ConfigError, which says what was expected."""
    from backtest.contracts import BacktestResult

    if not isinstance(content, Mapping) or "equity_curve" not in content:
        raise ConfigError(f"{path}: expected {expected}, got {shape_of(content)}; name a result's file")
    metrics = content.get("metrics", {})
    if not isinstance(metrics, Mapping):
        raise ConfigError(
            f"{path}: expected {expected}, got metrics that are {shape_of(metrics)}; run the backtest again"
        )
    try:
        return BacktestResult.from_dict(
            {name: value for name, value in content.items() if name != "files"}
        )  # of --json
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: expected {expected}, got {type(error).__name__}: {error}; run the backtest again"
        ) from None


def read_json(path: Path, expected: str) -> Any:
    """The content of a file. Raises ConfigError, which says what was expected."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        got = error.strerror or str(error)
    except ValueError as error:
        got = f"no JSON: {error}"
    raise ConfigError(f"{path}: expected {expected}, got {got}; name another file")


def shape_of(content: Any) -> str:
    """What a JSON value is, for an error text."""
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    names = ", ".join(list(map(str, content))[:_SHOWN])
    return f"an object with {names}" if names else "an empty object"
