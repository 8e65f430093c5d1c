"""The state of every ledgered daemon as its next start would find it: its component, folded anew over its ledger.

Nothing is written, locked or sent. The states are compared with each other, so that a ledger that was lost, replaced or
left behind shows before anything is started on top of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from controller.ledger.chain import Chain
from controller.ledger.holdings import Folded, folded_paper, folded_risk, folded_strategies
from core.component import Component, Durable
from core.config.model import Config
from core.entries import NO_ENTRY, EntryId, entry_text
from core.errors import LedgerCorruptError, NjordError
from core.ledger import Transaction, ledger
from core.ledger.snapshot import Snapshot, SnapshotFile
from core.service.spec import DaemonSpec
from core.topics import upstreams_of
from execution.daemon import SPEC as PAPER_TRADER
from risk.daemon import SPEC as RISK_ENGINE
from strategies.daemon import SPEC as STRATEGY_RUNNER

SPECS: Final[Mapping[str, DaemonSpec]] = {spec.name: spec for spec in (STRATEGY_RUNNER, RISK_ENGINE, PAPER_TRADER)}
_READ: Final[Mapping[str, Callable[[Any, Config], Folded]]] = {
    "strategy_runner": folded_strategies,
    "risk_engine": folded_risk,
    "paper_trader": folded_paper,
}
_SHAPE: Final = (NjordError, KeyError, TypeError, ValueError)  # of a ledger that this configuration cannot fold


@dataclass(frozen=True, slots=True)
class Consumed:
    """The consumer offset of a daemon in an upstream; ``waiting`` messages stand behind it, None without its ledger."""

    producer: str
    entry: EntryId
    waiting: int | None


@dataclass(slots=True)
class SnapshotCheck:
    """The check of a daemon's snapshot. ``seq`` is the transaction it stands behind, 0 for one that a start would
    pass over; ``agrees`` whether the ledger folded up to there gives the same, None while that is not known."""

    seq: int = 0
    agrees: bool | None = None


@dataclass(slots=True)
class DaemonState:
    """The state of one daemon. ``folded`` is None, with ``error``, when the ledger could not be folded.

    ``snapshot`` is None where there is none.
    """

    name: str
    chain: Chain
    sound: bool = True
    torn_bytes: int = 0
    folded: Folded | None = None
    error: str = ""
    consumed: list[Consumed] = field(default_factory=list)
    snapshot: SnapshotCheck | None = None


@dataclass(frozen=True, slots=True)
class FleetState:
    """Every daemon asked for; ``problems`` are what a human has to look into before the fleet is started.

    ``positions_equal`` is None while the positions of risk engine and venue cannot be compared.
    """

    daemons: Sequence[DaemonState]
    problems: Sequence[str]
    positions_equal: bool | None = None

    @property
    def unknown(self) -> bool:
        """Whether a sound ledger could not be folded."""
        return any(state.sound and state.folded is None for state in self.daemons)


def ledger_path(folder: Path, name: str) -> Path:
    """The file of a daemon's ledger."""
    return folder / f"{name}.ndjson"


def look(config: Config, folder: Path, names: Sequence[str], on_file: Callable[[Path], None]) -> FleetState:
    """Fold the ledgers of some daemons; those of their upstreams are read as well, where they are.

    ``on_file`` is called with each file before it is read, as a day's ledger takes seconds.

    Raises:
        ConfigError: a component cannot be built from this configuration.
    """
    states: dict[str, DaemonState] = {}
    for name in names:
        on_file(ledger_path(folder, name))
        states[name] = _fold(SPECS[name], config, ledger_path(folder, name))
    chains = {name: state.chain for name, state in states.items() if state.sound}
    problems = [state.error for state in states.values() if not state.sound]
    for producer in sorted({producer for name in names for producer in upstreams_of(name)} - states.keys()):
        path = ledger_path(folder, producer)
        try:
            if path.exists():
                on_file(path)
                chains[producer] = _scan(producer, path)
        except LedgerCorruptError as error:
            problems.append(str(error))
    for state in states.values():
        problems += [*_stale(state), *_compare(state, chains)]
    differences = _different_positions(states)
    return FleetState(
        list(states.values()), [*problems, *(differences or ())], None if differences is None else not differences
    )


def _fold(spec: DaemonSpec, config: Config, path: Path) -> DaemonState:
    state = DaemonState(spec.name, Chain(spec.name, path))
    component = spec.build(config)
    snapshot = _snapshot(state, component, path)
    try:
        for transaction in ledger.read(path):
            state.chain.take(transaction)
            if not state.error:
                state.error = _recover(component, transaction, path)
            if snapshot is not None and state.snapshot is not None and transaction.seq == snapshot.seq:
                state.snapshot.agrees = _agrees(snapshot, state.chain, component)
    except LedgerCorruptError as error:
        state.sound, state.error = False, str(error)
        return state
    state.torn_bytes = len(ledger.torn_tail(path))
    if not state.error:
        state.folded = _READ[spec.name](component, config)
    return state


def _snapshot(state: DaemonState, component: Component, path: Path) -> Snapshot | None:
    """The snapshot that a start would begin with."""
    file = SnapshotFile(path)
    if not file.path.exists():
        return None
    snapshot = file.read(state.name, int(getattr(component, "SNAPSHOT_VERSION", 1)))
    state.snapshot = SnapshotCheck(0 if snapshot is None else snapshot.seq)
    return snapshot


def _agrees(snapshot: Snapshot, chain: Chain, component: Component) -> bool:
    """Whether a snapshot says what the ledger up to its transaction says."""
    if not isinstance(component, Durable) or component.snapshot() != snapshot.state:
        return False
    return (snapshot.consumed, snapshot.newest_entry) == (chain.consumed, chain.newest)


def _recover(component: Component, transaction: Transaction, path: Path) -> str:
    """Give a component one recorded transaction; why it cannot be, in words, or nothing."""
    if transaction.note or not isinstance(component, Durable):
        return ""
    try:
        component.recover(transaction.cause.event, [event for _, event in transaction.events])
    except _SHAPE as error:
        return (
            f"{path}:{transaction.seq}: the chain holds, but this configuration cannot fold it: "
            f"{type(error).__name__}: {error}. Name the configuration it was written under with --config-root"
        )
    return ""


def _scan(name: str, path: Path) -> Chain:
    chain = Chain(name, path)
    for transaction in ledger.read(path):
        chain.take(transaction)
    return chain


def _compare(state: DaemonState, chains: Mapping[str, Chain]) -> Iterable[str]:
    """Fill in what waits for a daemon; what does not fit between it and its upstreams."""
    if not state.sound:
        return
    for producer in upstreams_of(state.name):
        entry = state.chain.consumed.get(producer, NO_ENTRY)
        chain = chains.get(producer)
        state.consumed.append(Consumed(producer, entry, chain.waiting(state.name, entry) if chain else None))
        if chain is None:
            continue
        origin = state.chain.origins.get(producer, chain.identity)
        if origin != chain.identity:
            yield (
                f"{state.name} has processed the ledger {origin} of {producer}, but {chain.path} is "
                f"{chain.identity or 'empty'}: it was deleted or replaced. Restore it from a backup"
            )
        elif not chain.reaches(entry):
            yield (
                f"{state.name} has processed {producer} up to {entry_text(entry)}, but {chain.path} ends at "
                f"{entry_text(chain.newest)}: it lost its end or is an older copy. Restore the newest one"
            )


def _stale(state: DaemonState) -> Iterable[str]:
    """A snapshot that would give a start another state than the ledger does."""
    if state.snapshot is not None and state.snapshot.agrees is False and not state.error:
        yield (
            f"{state.name}: the snapshot behind transaction {state.snapshot.seq} says something else than the ledger. "
            f"The ledger is right: remove {SnapshotFile(state.chain.path).path}, it is written anew"
        )


def _different_positions(states: Mapping[str, DaemonState]) -> list[str] | None:
    """The risk engine's positions and the venue's are equal once every fill has arrived; None before that."""
    risk, paper = states.get("risk_engine"), states.get("paper_trader")
    if risk is None or paper is None or risk.folded is None or paper.folded is None:
        return None
    if not at_rest(risk, "paper_trader") or paper.chain.newest < risk.chain.consumed.get("paper_trader", NO_ENTRY):
        return None  # fills are under way, or the venue wrote on between the two readings
    ours, theirs = risk.folded.quantities(), paper.folded.quantities()
    return [
        f"{symbol}: risk_engine holds {ours.get(symbol, 0.0)}, paper_trader {theirs.get(symbol, 0.0)}, and no fill is "
        "under way: they must be equal"
        for symbol in sorted(ours.keys() | theirs.keys())
        if ours.get(symbol) != theirs.get(symbol)
    ]


def at_rest(state: DaemonState, producer: str) -> bool:
    """Whether a daemon has processed everything that an upstream has for it."""
    return all(upstream.waiting == 0 for upstream in state.consumed if upstream.producer == producer)
