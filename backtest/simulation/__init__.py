"""The fleet rehearsal: the real daemons in one process, on a virtual clock, under seeded faults.

``python -m backtest.simulation.rehearsal --seed 17`` runs one; ``rehearsal.rehearse`` is the same from Python.
"""
