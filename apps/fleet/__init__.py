"""The whole paper fleet in one process: what ``make run`` starts.

May import every other package; is imported by none.
"""
