"""The metrics of a backtest: formulas, the table that names them, and how their values are written.

Entered by its face and its modules. May import: ``backtest.contracts``, ``core``.
"""

from __future__ import annotations

from backtest.metrics.calculate import calculate_metrics, measure
from backtest.metrics.measured import Measured, columns_of, measured_of
from backtest.metrics.returns import UNBOUNDED

__all__ = ["UNBOUNDED", "Measured", "calculate_metrics", "columns_of", "measure", "measured_of"]
