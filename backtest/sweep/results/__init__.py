"""The results of a sweep: outcomes, their columns, the table, the trial log, overfitting, the summary.

Entered by its modules. May import: ``backtest.sweep.space``, ``backtest.metrics``, ``research``, ``core``.
"""
