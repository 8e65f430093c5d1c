"""What speaks against a backtest or a search: rules, each a file of its kind, and the command that applies them.

``python -m backtest.lint``. Entered by its modules. May import: ``backtest.sweep``, ``research``, and what those may.
"""
