"""Market data: venue messages, order books, trade sequences, recordings, synthetic markets, bars.

Entered by its modules. May import: every other room of ``core``.
"""
