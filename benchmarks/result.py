"""The result of a benchmark: figures beside their floor from the same run, with the budget they are held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Of = Literal["value", "ratio"]
Bound = Literal["at least", "at most"]


class VerificationError(AssertionError):
    """A benchmark's output is wrong, so that its times mean nothing. The text says what was expected and what came."""


class SkippedError(RuntimeError):
    """A benchmark cannot run on this machine; the text says what it lacks."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A promise of the design: the figure, or its ratio to the floor, is ``at least`` or ``at most`` the limit."""

    bound: Bound
    limit: float
    of: Of = "value"

    def holds(self, seen: float) -> bool:
        """Whether the promise is kept."""
        return seen >= self.limit if self.bound == "at least" else seen <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.bound == "at least" else "≤"
        return f"{sign} {self.limit:g}×" if self.of == "ratio" else f"{sign} {self.limit:,g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. ``floor`` is what the bare libraries took for the same work in the same run, ``details``
    what else was measured on the way, for scripts."""

    label: str
    value: float
    unit: str
    floor: float | None = None
    budget: Budget | None = None
    note: str = ""
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours over the floor."""
        return self.value / self.floor if self.floor else None

    @property
    def met(self) -> bool | None:
        """Whether the budget holds; None without one."""
        if self.budget is None:
            return None
        seen = self.ratio if self.budget.of == "ratio" else self.value
        return seen is not None and self.budget.holds(seen)


@dataclass(frozen=True, slots=True)
class Result:
    """One benchmark's figures. ``work`` says what was done and how the output was verified, in numbers."""

    name: str
    figures: Sequence[Figure]
    work: str


def verify(subject: str, expected: object, got: object) -> None:
    """Raise VerificationError unless both are equal."""
    if expected != got:
        raise VerificationError(f"{subject}: expected {expected!r}, got {got!r}; the figures would mean nothing")
