"""What the kernel tests share: bars to trade on, and a kernel that trades by the volume it is told."""

from __future__ import annotations

from decimal import Decimal
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from backtest.contracts import BacktestConfig
from backtest.data.series import BarSeries, from_file
from core.instruments import Instrument
from strategies.kernel_cache import Floats, kernel_function
from strategies.kernels.strategy import KernelBar, KernelParams, KernelStrategy

SYMBOL = "BTC/USD"
MINUTE_NS = 60_000_000_000
START_NS = 1_640_995_200_000_000_000  # 2022-01-01
MONTH = Instrument(SYMBOL, Decimal("0.125"), Decimal(1))
SMALL = Instrument(SYMBOL, Decimal("0.01"), Decimal("0.001"))


def month(folder: Path) -> BarSeries:
    """The recorded month of minute bars."""
    return from_file(folder / "btcusd_perp_1m_202201.csv.gz", SYMBOL, "1m")


def bars_of(closes: Floats, volumes: Floats | None = None, minutes: int = 1, start_ns: int = START_NS) -> BarSeries:
    """A series with these closes in cents, opens near the close before, and highs and lows around both."""
    closes = np.maximum(np.round(closes, 2), 0.05)
    opens = np.concatenate([closes[:1], closes[:-1]]) + np.where(np.arange(len(closes)) % 3 == 0, 0.01, 0.0)
    high, low = np.maximum(opens, closes) + 0.02, np.minimum(opens, closes) - 0.02
    length = minutes * MINUTE_NS
    ts_open = start_ns + np.arange(len(closes), dtype=np.int64) * length
    volumes = np.full(len(closes), 5.0) if volumes is None else volumes
    prices = (np.round(each, 2) for each in (opens, high, low, closes))
    return BarSeries(SYMBOL, f"{minutes}m", ts_open, ts_open + length, *(*prices, volumes))


def config_of(params: dict[str, Any], **changed: Any) -> BacktestConfig:
    """A run without risk engine."""
    plain = {"commission_rate": 0.001, "slippage_bps": 0.0, "initial_capital": 10_000.0, "risk": False, **changed}
    return BacktestConfig(SYMBOL, "kernel", 0, 0, params=params, **plain)


class AsToldParams(KernelParams, frozen=True, kw_only=True):
    """``unit`` is how much exposure one of volume stands for; ``silent`` the volume that means no opinion."""

    unit: float = 1.0
    silent: float = 1.0


@kernel_function
def as_told(state: Floats, bar: KernelBar, params: Floats) -> float:
    """The volume less 5 as the exposure wanted."""
    state[0] += 1.0
    if bar.volume == params[1]:
        return nan
    exposure: float = (bar.volume - 5.0) * params[0]
    return exposure


class AsTold(KernelStrategy):
    """Does what the volume says: a test writes its exposures there."""

    strategy_id = "as_told"
    step = staticmethod(as_told)
    Params = AsToldParams

    @classmethod
    def state_size(cls, params: Any) -> int:
        return 1

    @classmethod
    def warm_up(cls, params: Any) -> int:
        return 1
