"""The shared primitives: contracts, codec, bus, journals, ledger, clock, configuration, service host.

Imports nothing else of this project; everything imports it.
"""
