"""The strategy runner: configured strategies behind the bus.
May import every other package; is imported by none.
"""
