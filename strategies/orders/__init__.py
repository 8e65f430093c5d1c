"""Accounts of a strategy's own orders: positions by strategy, open orders, last prices.

Entered by its modules. May import: ``core``.
"""
