"""How orders become fills: the matching core, fill models, the paper venue, execution algorithms.
May import core only.
"""
