"""The host of strategies: built, admitted, timed, contained, reloaded; the strategy runner as a daemon.

May import: ``strategies.orders``, the flat modules of ``strategies``, ``core``.
"""
