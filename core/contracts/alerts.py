"""Alerts: the one contract by which any daemon calls a human."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from core.contracts.base import Contract, check_named, check_one_of, check_shallow, check_time

Severity = Literal["info", "warning", "error", "critical"]
Category = Literal["system", "risk", "performance", "execution", "killswitch"]
SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)
CATEGORIES: Final[tuple[str, ...]] = get_args(Category)
RAISED: Final = "alerts.raised"  # the plain topic on which daemons raise them


@dataclass(frozen=True, slots=True)
class Alert(Contract):
    """Something that a human should know. ``source`` is the daemon; ``labels`` say which one of its kind it is."""

    alert_id: str
    timestamp_ns: int
    severity: Severity
    category: Category
    source: str
    title: str
    message: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_named(self, "alert_id", self.alert_id)
        check_time(self, "timestamp_ns", self.timestamp_ns)
        check_one_of(self, "severity", self.severity, SEVERITIES)
        check_one_of(self, "category", self.category, CATEGORIES)
        check_shallow(self, "labels", self.labels)
        check_shallow(self, "annotations", self.annotations)

    @property
    def ts_ns(self) -> int:
        return self.timestamp_ns
