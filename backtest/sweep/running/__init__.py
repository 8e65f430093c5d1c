"""The run of a sweep: workers and what they evaluate, within a memory budget, checkpointed.

Entered by its modules. May import: the other rooms of ``backtest.sweep`` and what those may.
"""
