"""The strategy runner: configured strategies behind the bus.

May import ``strategies`` and ``core``; imported by ``apps`` alone.
"""
