"""What reached a session's daemons beside the market: the kill switch and the disk, out of their ledgers.

These stand there as local causes with the market time at which they were seen. Where several events share that time,
the transactions before, traced back to the market events they came from, and the prices told say between which ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from backtest.parity.market import LEDGERS, SessionFiles
from core.contracts import Contract, RiskState
from core.ledger import LOCAL, Cause, ledger

Origin = tuple[str, str]  # topic and identity of a market event
EVERYBODY: Final = "strategy_runner"  # told only where all daemons are told at once
_NOWHERE: Final = ("", "")


@dataclass(frozen=True, slots=True)
class Intervention:
    """A local event of some daemons.

    ``behind`` are the last market events that they had answered before, ``marks`` the last prices that the risk engine
    had then, as far as it told them.
    """

    daemons: tuple[str, ...]
    event: Contract
    behind: frozenset[Origin]
    marks: Mapping[str, float]


@dataclass(slots=True)
class _Chain:
    """Which market event each transaction of a daemon goes back to."""

    origins: dict[int, Origin]
    local: list[tuple[int, Contract]]
    marks: dict[int, dict[str, float]]


def interventions(files: SessionFiles) -> list[Intervention]:
    """All of a session by time. Raises LedgerCorruptError."""
    chains = {name: _chain(files, name) for name in LEDGERS}
    found = [_of_fleet(chains, event) for _, event in chains[EVERYBODY].local]
    together = {each.event for each in found}
    for name, chain in chains.items():
        for seq, event in chain.local:
            if name != EVERYBODY and event not in together:
                found.append(Intervention((name,), event, _behind(chains, name, seq), chain.marks[seq]))
    return sorted(found, key=lambda each: each.event.ts_ns)


def _of_fleet(chains: Mapping[str, _Chain], told: Contract) -> Intervention:
    """In one process all daemons are told in one moment; over Redis each asks for itself, this one never."""
    places = [(name, seq) for name, chain in chains.items() for seq, event in chain.local if event == told]
    behind = frozenset(origin for name, seq in places for origin in _behind(chains, name, seq))
    marks = {symbol: price for name, seq in places for symbol, price in chains[name].marks[seq].items()}
    return Intervention(tuple(name for name, _ in places), told, behind, marks)


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
    states = (each for each in answers if isinstance(each, RiskState))
    return {symbol: float(mark[0]) for state in states for symbol, mark in state.inputs.get("marks", {}).items()}


def _pointer(cause: Cause) -> Origin:
    """The market event, or the upstream transaction, which is followed when it is asked for."""
    entry = cause.entry
    return (cause.stream, cause.id) if entry is None else (cause.stream, str(entry[0]))


def _behind(chains: Mapping[str, _Chain], name: str, seq: int) -> frozenset[Origin]:
    """The market event that the latest transaction before goes back to."""
    for before in range(seq - 1, 0, -1):
        origin = _traced(chains, name, before)
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
