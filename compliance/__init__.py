"""The audit trail, replay validation, book reconstruction and regulatory exports.

May import core and the domain packages (strategies, risk, execution, portfolio).
"""
