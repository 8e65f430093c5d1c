"""``njord-ctl diff``: a session beside its replay, as tables.

May import: ``backtest.parity``, ``core``.
"""
