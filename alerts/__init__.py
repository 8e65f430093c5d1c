"""Alert rules and notification channels.

May import core and the domain packages (strategies, risk, execution, portfolio).
"""
