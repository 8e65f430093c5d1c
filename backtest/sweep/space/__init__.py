"""The space of a sweep: its parameters, constraints, the order of a search, and the neighbours of a set.

Entered by its modules. May import: ``backtest.sweep.settings``, ``core``.
"""
