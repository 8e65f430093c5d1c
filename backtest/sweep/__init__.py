"""Parameter sweeps: spaces, searches, workers, checkpoints, the table of results. ``backtest.param_sweep`` is the door.

May import: ``backtest.engine``, ``backtest.compiled``, ``research``, and what those may.
"""
