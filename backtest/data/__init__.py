"""Market data of a backtest: series of bars, tapes of trades, the grid of their prices, their fingerprints.

Entered by its modules. May import: ``backtest.contracts``, ``execution``, ``core``.
"""
