"""Indicators: ``incremental`` for strategies in Python, ``kernel`` for compiled ones.

May import: ``strategies.kernel_cache``, ``core``.
"""
