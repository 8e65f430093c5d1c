"""The backtester: the same components as paper and live, driven from recorded data.

May import core and the domain packages (strategies, risk, execution, portfolio).
"""
