"""What a backtest runs on: series of bars, tapes of trades, the grid of their prices, their fingerprints.

Entered by its modules. May import: ``backtest.contracts``, ``execution``, ``core``.
"""
