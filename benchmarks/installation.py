"""An installation of the project for a benchmark's daemons: its configuration and the environment that points at it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.workload import ROOT, SYMBOL

_NO_CAP: Final = "1000000000"


def environ(folder: Path, url: str) -> dict[str, str]:
    """Everything is written below ``folder``, Redis is at ``url``."""
    return {
        "NJORD_REDIS__URL": url,
        "NJORD_APP__DATA_DIR": str(folder),
        "NJORD_APP__LOG_DIR": str(folder / "journals"),
        "NJORD_APP__LEDGER_DIR": str(folder / "ledgers"),
        "NJORD_LOGGING__JSON_DIR": str(folder),
        "NJORD_RISK__KILL_SWITCH_FILE": str(folder / "killswitch"),
    }


def without_caps() -> dict[str, str]:
    """Limits that let every order of a benchmark pass."""
    return {
        "NJORD_RISK__ORDERS_PER_MIN_CAP": _NO_CAP,
        "NJORD_RISK__POSITION_USD_CAP": _NO_CAP,
        "NJORD_RISK__DAILY_LOSS_USD_CAP": _NO_CAP,
        "NJORD_RISK__MAX_PRICE_AGE_MS": "600000",
    }


def write_config(root: Path, strategy: str, params: Mapping[str, Any] | None = None) -> Path:
    """The project's base.yaml with one strategy of the benchmarks."""
    (root / "config").mkdir(parents=True)
    shutil.copy(ROOT / "config" / "base.yaml", root / "config" / "base.yaml")
    entry: dict[str, Any] = {
        "id": "bench",
        "class": f"benchmarks.strategy.{strategy}",
        "symbols": [SYMBOL],
        "events": ["md.trades.*"],
        "params": dict(params or {}),
    }
    (root / "config" / "strategies.yaml").write_text(yaml.safe_dump({"strategies": [entry]}))
    return root
