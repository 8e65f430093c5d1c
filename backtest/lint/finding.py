"""The finding of a lint rule, in a module light enough for a command line that only shows its help."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How much a finding matters: good to know, weakens the result, or makes it worth nothing as it stands."""

    INFO = 1
    WARNING = 2
    SERIOUS = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a backtest.

    Attributes:
        rule: which rule found it.
        severity: how much it matters.
        text: one sentence with the number behind it.
        advice: what to do.
        value: the number itself.
    """

    rule: str
    severity: Severity
    text: str
    advice: str
    value: float = 0.0
