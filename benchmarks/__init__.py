"""The benchmarks: the cost of the fleet beside the bare libraries it stands on, measured in one run on one machine.

Imports anything, apps included; is imported by no product code. ``python -m benchmarks`` runs it.
"""
