"""Orders into fills: the matching core, fill models, the paper venue, execution algorithms.

May import core only.
"""

from core.costs import FeeSchedule
from execution.account import AccountSummary, summarize
from execution.decision_check import refusal
from execution.fill_models import DEFAULT_FILL_MODEL, FILL_MODELS, FillModel, WorkingOrder, fill_model
from execution.matching import Execution, MatchingCore
from execution.paper_venue import PaperVenue

__all__ = [
    "DEFAULT_FILL_MODEL",
    "FILL_MODELS",
    "AccountSummary",
    "Execution",
    "FeeSchedule",
    "FillModel",
    "MatchingCore",
    "PaperVenue",
    "WorkingOrder",
    "fill_model",
    "refusal",
    "summarize",
]
