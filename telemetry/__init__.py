"""Metrics, their exporter, aggregation and dashboards.

May import core and the domain packages (strategies, risk, execution, portfolio).
"""
