"""The bar aggregation daemon: trades in, bars of every timeframe out, rotation of its journals.

May import core; is imported by nobody but apps.
"""
