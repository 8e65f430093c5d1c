"""Lint rules for a backtest or a search: each kind a file, and the command that applies them.

``python -m backtest.lint``. Entered by its modules. May import: ``backtest.sweep``, ``research``, and what those may.
"""
