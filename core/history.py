"""Histories of volume and price as execution and portfolio ask for them, whoever keeps the data.

Research reads journals and files, a backtest has columns, a daemon what it received: each offers these protocols, so
that nothing that trades imports what does research.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from core.errors import ContractError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HistorySeries:
    """One number per closed bar, oldest first.

    Attributes:
        ts_close: int64 of shape ``(n,)``: the closes of the bars in UTC epoch nanoseconds, strictly ascending.
        values: float64 of shape ``(n,)``, finite.

    Raises:
        ContractError: other shapes, times that do not ascend, or values that are not finite.
    """

    ts_close: Ints
    values: Floats

    def __post_init__(self) -> None:
        if self.ts_close.ndim != 1 or self.ts_close.shape != self.values.shape:
            raise ContractError(
                f"HistorySeries: expected two rows of equal length, got {self.ts_close.shape} and {self.values.shape}"
            )
        if (np.diff(self.ts_close) <= 0).any():
            raise ContractError("HistorySeries.ts_close: expected strictly ascending times, got others")
        if not np.isfinite(self.values).all():
            raise ContractError("HistorySeries.values: expected finite numbers, got others")

    def __len__(self) -> int:
        return len(self.values)


@runtime_checkable
class VolumeHistory(Protocol):
    """Traded volume in the past: what volume profiles and participation rates rest on."""

    def volumes(self, symbol: str, timeframe: str, start_ns: int, end_ns: int) -> HistorySeries:
        """The volume of each bar that closed after ``start_ns`` and not after ``end_ns``, in base currency.

        A bar that is missing is left out: no bar is not no volume. Nothing later than ``end_ns`` may show in it.

        Raises:
            UnknownSymbolError: no such symbol.
            ConfigError: no such timeframe.
        """
        ...


@runtime_checkable
class PriceHistory(Protocol):
    """Prices in the past: what volatilities, covariances and benchmarks rest on."""

    def closes(self, symbol: str, timeframe: str, start_ns: int, end_ns: int) -> HistorySeries:
        """The close of each bar that closed after ``start_ns`` and not after ``end_ns``, in quote currency.

        A bar that is missing is left out, never carried forward. Nothing later than ``end_ns`` may show in it.

        Raises:
            UnknownSymbolError: no such symbol.
            ConfigError: no such timeframe.
        """
        ...
