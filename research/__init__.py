"""Journals as data frames and Arrow tables, for research.

May import core and the domain packages (strategies, risk, execution, portfolio).
"""
