"""The report of a backtest: one HTML file that needs nothing else.

Entered by its face. May import: ``backtest.metrics``, ``backtest.data``, ``core``.
"""

from __future__ import annotations

from backtest.report.generate import generate_report, main, parser, render

__all__ = ["generate_report", "main", "parser", "render"]
