"""Simulations of a whole fleet: ``rehearsal`` runs the real daemons through seeded faults, in ``world``.

``session`` is one seed, ``command`` the command line of many. May import: the domain packages, ``core``.
"""
