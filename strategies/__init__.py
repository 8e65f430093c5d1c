"""Strategies: the base class, the registry, the manager that hosts them, and the samples.
May import core only.
"""
