"""``njord-ctl ledger``: what the ledgers of a fleet hold, and whether they hold together.

May import: the domain packages, ``core``.
"""
