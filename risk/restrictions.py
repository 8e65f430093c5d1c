"""Restrictions of trading: named reasons, each with its severity; the most severe one decides the state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from core.contracts import TradingState


class Restriction(StrEnum):
    """A reason to let less through."""

    KILL_SWITCH = "kill_switch"
    MANUAL_HALT = "manual_halt"
    DAILY_LOSS = "daily_loss"
    JOURNAL_DEGRADED = "journal_degraded"
    MANUAL_REDUCE = "manual_reduce"


SEVERITY: Final[Mapping[str, TradingState]] = {
    Restriction.KILL_SWITCH: TradingState.HALTED,
    Restriction.MANUAL_HALT: TradingState.HALTED,
    Restriction.DAILY_LOSS: TradingState.REDUCING,
    Restriction.JOURNAL_DEGRADED: TradingState.REDUCING,
    Restriction.MANUAL_REDUCE: TradingState.REDUCING,
}


def severity(in_force: Iterable[str]) -> TradingState:
    """The state under these restrictions: the most severe wins, none is ACTIVE."""
    states = {SEVERITY[name] for name in in_force}
    for state in (TradingState.HALTED, TradingState.REDUCING):
        if state in states:
            return state
    return TradingState.ACTIVE


class Restrictions:
    """The restrictions in force, each from one or more sources with a detail in words.

    A restriction from two sources, such as two operators, stays until both are gone, unless all are lifted at once.
    """

    def __init__(self) -> None:
        self._details: dict[tuple[str, str], str] = {}
        self.names: tuple[str, ...] = ()
        self.state = TradingState.ACTIVE

    def __contains__(self, restriction: object) -> bool:
        return restriction in self.names

    def put(self, restriction: Restriction, source: str = "", detail: str = "") -> bool:
        """Put a restriction in force; returns whether it was not in force from that source before."""
        key = (restriction.value, source)
        if key in self._details:
            return False
        self._details[key] = detail
        self._derive()
        return True

    def lift(self, restriction: Restriction, source: str = "") -> bool:
        """Lift a restriction from a source, from all when none is named; returns whether anything changed."""
        gone = [key for key in self._details if key[0] == restriction and source in ("", key[1])]
        for key in gone:
            del self._details[key]
        self._derive()
        return bool(gone)

    def sources(self, restriction: Restriction) -> str:
        """The sources of a restriction, by comma; empty when it is not in force."""
        return ",".join(source for name, source in sorted(self._details) if name == restriction)

    def reason(self) -> str:
        """All restrictions in words."""
        texts = [
            " ".join(part for part in (name, source, self._details[name, source]) if part)
            for name, source in sorted(self._details)
        ]
        return "; ".join(texts) or "no restriction"

    def snapshot(self) -> list[list[str]]:
        """Name, source and detail of each, sorted, as plain JSON values."""
        return [[name, source, self._details[name, source]] for name, source in sorted(self._details)]

    def load(self, snapshot: Iterable[Iterable[str]]) -> None:
        """Become what ``snapshot`` describes."""
        self._details = {(name, source): detail for name, source, detail in snapshot}
        self._derive()

    def _derive(self) -> None:
        self.names = tuple(sorted({name for name, _ in self._details}))
        self.state = severity(self.names)
