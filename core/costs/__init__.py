"""Costs of trading in exact integers: fees and slippage, the same for venue, backtests, execution and portfolio.

Entered by its face. May import: ``core.position_ledger``, ``core.contracts``, ``core.instruments``, ``core.errors``.
"""

from __future__ import annotations

from core.costs.fees import FeeSchedule
from core.costs.slippage import MODELS, PPM, PPM_PER_BPS, BarRange, Slippage, SlippageModel, slipped

__all__ = [
    "MODELS",
    "PPM",
    "PPM_PER_BPS",
    "BarRange",
    "FeeSchedule",
    "Slippage",
    "SlippageModel",
    "slipped",
]
