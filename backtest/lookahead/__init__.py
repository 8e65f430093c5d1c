"""Look-ahead in strategies under the engine: ``python -m backtest.lookahead`` runs a strategy on altered futures.

May import: ``backtest.engine``, ``backtest.runner``, ``research``.
"""
