"""Kernel strategies: the samples again, and a cross of averages, compiled for sweeps. Found by the registry.
May import core and strategies only.
"""
