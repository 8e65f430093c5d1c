"""The host of a daemon: from a component to a process that starts, serves, reloads, recovers and stops.

Entered by its modules (``spec`` declares a daemon, ``launch`` runs one, ``embedded`` hosts a fleet in one process), so
that a strategy's package pays for no HTTP server. May import: every other room of ``core`` but ``market``.
"""
