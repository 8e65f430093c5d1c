"""Simulations of a whole fleet: ``rehearsal`` runs the real daemons through seeded faults, in ``world``.

May import: the domain packages, ``core``.
"""
