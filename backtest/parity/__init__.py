"""A recorded session beside its replay or a backtest: intents, fills and money, difference by difference.

Entered by its face. May import: ``backtest.engine``, the domain packages, ``core``.
"""
