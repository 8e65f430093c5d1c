"""The golden backtests: scenarios in YAML over prices out of a fixed seed, and their recorded results.

``python -m tests.support.backtests.golden`` runs them anew and writes what changed, to be reviewed as a diff. With
``--digests`` it prints the SHA-256 of every result and writes nothing: two Pythons on one machine must print the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import yaml

from backtest.contracts import BacktestConfig, BacktestResult, FillTiming
from backtest.data.series import BarSeries
from backtest.engine import run_backtest
from core.clock import NS_PER_MINUTE
from core.instruments import Instrument, Instruments
from risk.limits import RiskLimits
from strategies.registry import StrategyRegistry

FOLDER: Final = Path(__file__).resolve().parents[2] / "golden"
NAMES: Final = ("buy_hold", "ma_cross", "trendline")
START_NS: Final = 1_704_067_200_000_000_000  # 2024-01-01 00:00:00 UTC
FIGURES: Final = ("final_capital", "total_return_pct", "sharpe_ratio", "max_drawdown_pct", "win_rate", "profit_factor")
SHOWN: Final = 6  # digits after the point of a recorded figure


@dataclass(frozen=True)
class Scenario:
    """One YAML file."""

    name: str
    settings: dict[str, Any]

    def run(self) -> BacktestResult:
        """The backtest it describes."""
        settings = self.settings
        symbol = str(settings["symbol"])
        config = BacktestConfig(
            symbol, settings["strategy"], 0, 0, settings["capital"], settings["commission"], settings["slippage_bps"],
            fill_timing=FillTiming(settings["fill"]), params=settings["params"],
        )  # fmt: skip
        grid = Instrument(symbol, Decimal(str(settings["tick_size"])), Decimal(str(settings["lot_size"])))
        series = walk(symbol, settings["series"]["seed"], settings["series"]["bars"])
        make = StrategyRegistry().resolve(settings["class"])
        limits = RiskLimits(**settings["limits"])
        return run_backtest(config, series, make, instruments=Instruments([grid]), limits=limits)

    @property
    def path(self) -> Path:
        """Where its result is recorded."""
        return FOLDER / f"backtest_{self.name}.json"


def scenario(name: str) -> Scenario:
    """The scenario of a name."""
    return Scenario(name, yaml.safe_load((FOLDER / f"golden_{name}.yaml").read_text()))


def figures(result: BacktestResult) -> dict[str, Any]:
    """What is recorded: every metric, and the fingerprints of what went in and what came out."""
    prints = result.fingerprints
    return {
        "figures": {name: round(getattr(result, name), SHOWN) for name in FIGURES},
        "metrics": {name: round(value, SHOWN) for name, value in sorted(result.metrics.items())},
        "num_trades": result.num_trades,
        "fills": len(result.fills),
        "refused": dict(result.refused),
        "fingerprints": {"data": prints.data, "orders": prints.orders},
    }


def walk(symbol: str, seed: int, count: int) -> BarSeries:
    """Minute bars of a walk whose direction lasts, in cents, with a jump now and then."""
    draw, cents, drift, rows = Random(seed), 100_000, 0, []
    for _ in range(count):
        if draw.random() < 0.01:
            drift = draw.randrange(-12, 14)
        path = [cents]
        for _ in range(4):
            cents = max(1_000, cents + drift + draw.randrange(-60, 61))
            path.append(cents)
        if draw.random() < 0.002:
            cents += draw.choice((-1, 1)) * cents // 50
            path.append(cents)
        rows.append((path[0], max(path), min(path), path[-1], draw.randrange(1, 5_000)))
    opens = START_NS + np.arange(count, dtype=np.int64) * NS_PER_MINUTE
    o, h, lo, c, volume = (np.array(column, dtype=np.float64) / 100.0 for column in zip(*rows, strict=True))
    return BarSeries(symbol, "1m", opens, opens + NS_PER_MINUTE, o, h, lo, c, volume)


def digest(result: BacktestResult) -> str:
    """The SHA-256 of everything in the result but the fingerprint of the code, which differs between two Pythons.

    Figures to the last bit, equity curve, round trips, fills and messages.
    """
    content = result.to_dict()
    content["fingerprints"].pop("code")
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def main() -> int:
    """Run every scenario and write what changed, or print their digests."""
    if "--digests" in sys.argv[1:]:
        for name in NAMES:
            print(f"{name} {digest(scenario(name).run())}")
        return 0
    for name in NAMES:
        golden = scenario(name)
        text = json.dumps(figures(golden.run()), indent=2) + "\n"
        changed = not golden.path.exists() or golden.path.read_text() != text
        if changed:
            golden.path.write_text(text)
        print(f"{golden.path.name}: {'written; review the diff' if changed else 'unchanged'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
