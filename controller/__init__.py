"""njord-ctl and the fleet's process control.

May import core and the domain packages (strategies, risk, execution, portfolio).
"""
