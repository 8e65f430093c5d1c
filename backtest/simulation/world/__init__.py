"""The world of the rehearsal: virtual time, a server, a network, disks and the faults that strike them.

Entered by ``backtest.simulation``. May import: the domain packages, ``core``.
"""
