"""The inputs of a sweep, as the caller of ``ParameterSweep`` names them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backtest.contracts import BacktestConfig
    from backtest.data.series import BarSeries
    from backtest.data.trade_tape import TradeTape
    from core.instruments import Instruments
    from risk.limits import RiskLimits


@dataclass(frozen=True, eq=False, kw_only=True)
class SweepInputs:
    """The parts of a run that the caller of ``ParameterSweep`` names; None for what the installation has.

    Attributes:
        strategy: a class instead of the registered one.
    """

    config: BacktestConfig | None = None
    data: BarSeries | Iterable[BarSeries | TradeTape] | None = None
    strategy: Any = None
    instruments: Instruments | None = None
    limits: RiskLimits | None = None
