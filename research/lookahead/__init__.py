"""Detectors of look-ahead: whether a decision depends on what was not known when it was taken.

Entered by its face. May import: ``core``.
"""

from __future__ import annotations

from research.lookahead.decisions import Decision
from research.lookahead.detector import LookaheadReport, Slicing, find_future_dependence, find_lookahead
from research.lookahead.outside import OutsideReport
from research.lookahead.warm_up import WarmUpReport, find_warm_up

__all__ = [
    "Decision",
    "LookaheadReport",
    "OutsideReport",
    "Slicing",
    "WarmUpReport",
    "find_future_dependence",
    "find_lookahead",
    "find_warm_up",
]
