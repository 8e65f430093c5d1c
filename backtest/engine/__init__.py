"""The event engine: strategies, risk engine and fills on bars or trades, in the order of time.

Entered by its face. May import: ``backtest.data``, ``backtest.metrics``, the domain packages, ``core``.
"""

from __future__ import annotations

from backtest.engine.event_engine import BacktestEngine, run_backtest

__all__ = ["BacktestEngine", "run_backtest"]
