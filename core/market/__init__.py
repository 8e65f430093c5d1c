"""Market data without I/O: the venue's messages, the order book, trades in order, captures, synthetic markets.
Imports core only; feeds, daemons, research and compliance build on it.
"""
