"""The market data daemon and its feeds: live venue, replay, synthetic.

May import core; is imported by nobody but apps.
"""
