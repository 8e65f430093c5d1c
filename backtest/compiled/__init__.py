"""The compiled engine: kernel strategies in numba loops, equal to the event engine to the last bit.

Entered by its modules. May import: ``backtest.engine`` and what that may.
"""
