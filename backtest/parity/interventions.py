"""Interventions: the local events of a session's daemons beside the market, such as kill switch and disk.

The ledgers have them as local causes with the market time at which they were seen. Where several events share that
time, the previous transactions, traced back to their market events, and the reported prices tell between which ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from backtest.parity.market import LEDGERS, SessionFiles
from core.contracts import Contract, RiskState
from core.ledger import LOCAL, Cause, ledger

Origin = tuple[str, str]  # topic and identity of a market event
EVERYBODY: Final = "strategy_runner"  # gets local events only where all daemons get them at once
_NOWHERE: Final = ("", "")


@dataclass(frozen=True, slots=True)
class Intervention:
    """A local event of some daemons.

    ``behind`` are the last market events that they had answered before, ``marks`` the last prices that the risk engine
    had then, as far as it reported them.
    """

    daemons: tuple[str, ...]
    event: Contract
    behind: frozenset[Origin]
    marks: Mapping[str, float]


@dataclass(slots=True)
class _Chain:
    """The market event behind each transaction of a daemon."""

    origins: dict[int, Origin]
    local: list[tuple[int, Contract]]
    marks: dict[int, dict[str, float]]


def interventions(files: SessionFiles) -> list[Intervention]:
    """All of a session by time. Raises LedgerCorruptError."""
    chains = {name: _chain(files, name) for name in LEDGERS}
    of_session = [_of_fleet(chains, event) for _, event in chains[EVERYBODY].local]
    fleet_wide = {intervention.event for intervention in of_session}
    for name, chain in chains.items():
        for seq, event in chain.local:
            if name != EVERYBODY and event not in fleet_wide:
                of_session.append(Intervention((name,), event, _behind(chains, name, seq), chain.marks[seq]))
    return sorted(of_session, key=lambda intervention: intervention.event.ts_ns)


def _of_fleet(chains: Mapping[str, _Chain], local_event: Contract) -> Intervention:
    """A local event of all daemons at once, as in one process; over Redis each polls for itself, this one never."""
    places = [(name, seq) for name, chain in chains.items() for seq, event in chain.local if event == local_event]
    behind = frozenset(origin for name, seq in places for origin in _behind(chains, name, seq))
    marks = {symbol: price for name, seq in places for symbol, price in chains[name].marks[seq].items()}
    return Intervention(tuple(name for name, _ in places), local_event, behind, marks)


def _chain(files: SessionFiles, name: str) -> _Chain:
    chain = _Chain({}, [], {})
    for transaction in ledger.read(files.ledger(name)):
        cause = transaction.cause
        if cause.topic.startswith(LOCAL) and cause.event is not None:
            chain.local.append((transaction.seq, cause.event))
            chain.marks[transaction.seq] = _marks(event for _, event in transaction.events)
        else:
            chain.origins[transaction.seq] = _pointer(cause)
    return chain


def _marks(answers: Iterable[Contract]) -> dict[str, float]:
    """The prices that a change of the risk engine's state rests on."""
    states = (answer for answer in answers if isinstance(answer, RiskState))
    return {symbol: float(mark[0]) for state in states for symbol, mark in state.inputs.get("marks", {}).items()}


def _pointer(cause: Cause) -> Origin:
    """The market event, or the upstream transaction, which is followed when it is asked for."""
    entry = cause.entry
    return (cause.stream, cause.id) if entry is None else (cause.stream, str(entry[0]))


def _behind(chains: Mapping[str, _Chain], name: str, seq: int) -> frozenset[Origin]:
    """The market event that the latest transaction before goes back to."""
    for earlier in range(seq - 1, 0, -1):
        origin = _traced(chains, name, earlier)
        if origin is not None:
            return frozenset([origin])
    return frozenset()


def _traced(chains: Mapping[str, _Chain], name: str, seq: int) -> Origin | None:
    """The market event that a transaction goes back to; None where that cannot be told."""
    while True:  # causes lie in the past, so this ends
        stream, place = chains[name].origins.get(seq, _NOWHERE)
        if stream not in chains:
            return (stream, place) if stream.startswith("md.") else None
        name, seq = stream, int(place)
