"""Daemons: each a component, its topics and its configuration, and nothing else.

May import every other package; is imported by none.
"""
