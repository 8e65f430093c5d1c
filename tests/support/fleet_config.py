"""An installation whose strategies trade often, so that a minute of recorded market is enough to test with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

import yaml

from apps.fleet.session import in_folder
from core.config import Config, load_config
from tests.conftest import ROOT


def _entry(id_: str, symbol: str, **params: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "class": "strategies.samples.trendline_break.TrendlineBreak",
        "symbols": [symbol],
        "events": ["md.trades.*"],
        "params": {"lookback_periods": 5, "breakout_threshold": 0.00002, "period_s": 1, **params},
    }


BUSY: Final = (
    _entry("btc_market", "BTC/USDT", qty=0.03),
    _entry("btc_limit", "BTC/USDT", qty=0.02, order_type="limit", period_s=0.5),
    _entry("btc_too_large", "BTC/USDT", qty=0.5, period_s=2),  # beyond the order cap: always denied
    _entry("eth_limit", "ETH/USDT", qty=0.8, order_type="limit"),
    _entry("eth_market", "ETH/USDT", qty=0.5, period_s=0.7),
)


def busy_installation(into: Path) -> Path:
    """A configuration root with the shipped base.yaml and strategies that trade every few seconds."""
    folder = into / "config"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "config" / "base.yaml", folder / "base.yaml")
    (folder / "strategies.yaml").write_text(yaml.safe_dump({"strategies": list(BUSY)}))
    return into


def config_in(folder: Path, root: Path = ROOT) -> Config:
    """The configuration of ``root`` with everything it writes, and its kill switch, below ``folder``."""
    environ = {"NJORD_RISK__KILL_SWITCH_FILE": str(folder / "killswitch")}
    return in_folder(load_config(root, environ=environ), folder)
