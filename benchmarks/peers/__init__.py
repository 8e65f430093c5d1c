"""Other people's backtesters and ours, one runner each, in processes that are asked by lines.

Peers live in environments of their own: a runner imports its library, numpy and ``benchmarks.peers.protocol`` only.
"""
