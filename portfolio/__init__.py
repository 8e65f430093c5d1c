"""Capital allocation across strategies and the rebalancing that follows from it.

May import core only.
"""
