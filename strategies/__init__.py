"""Strategies: what an author writes against, the host that runs them, and the shipped ones.

Authors import the flat modules (``base``, ``context``, ``entries``, ``sampling``, ``target_orders``) and
``indicators``. May import: ``core``.
"""
