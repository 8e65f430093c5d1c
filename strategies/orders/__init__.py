"""What a strategy has under way: its books, its open orders, and orders that aim at a position.

May import: ``core``, ``strategies.context``.
"""
