"""The host of strategies: built, admitted, timed, contained, reloaded.

May import: ``strategies.orders``, the flat modules of ``strategies``, ``core``.
"""
