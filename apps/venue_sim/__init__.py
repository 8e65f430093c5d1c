"""A Binance-compatible venue on loopback, with the faults of a real one: for tests and rehearsals.

May import core; is imported by nobody but apps and tests.
"""
