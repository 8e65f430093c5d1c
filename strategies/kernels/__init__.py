"""Kernel strategies: the compiled step, its cache, and the shipped ones.

Entered by its modules. May import: ``strategies.indicators``, ``strategies.orders``, the flat modules of
``strategies``.
"""
