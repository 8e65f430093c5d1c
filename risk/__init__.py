"""Risk policies and the risk engine component that applies them to every order intent.

May import core only.
"""

from __future__ import annotations

from risk.catalogue import CatalogueRow, catalogue
from risk.decide import POLICIES, decide, redecide
from risk.denial import Denial
from risk.engine import RiskEngine
from risk.inputs import RiskInputs
from risk.limits import RiskLimits
from risk.rate import RateLimiter, TokenBucket
from risk.restrictions import Restriction, severity

__all__ = [
    "POLICIES",
    "CatalogueRow",
    "Denial",
    "RateLimiter",
    "Restriction",
    "RiskEngine",
    "RiskInputs",
    "RiskLimits",
    "TokenBucket",
    "catalogue",
    "decide",
    "redecide",
    "severity",
]
