"""Sample strategies, each with its golden file under tests/golden.

Found by the registry. May import core and strategies only.
"""
