"""The replay of a recorded session: its market data through the same hosts and components, without Redis.

The session's folder is only read. Everything is written to a folder of its own, which then is a session like any
other: for an embedded session the ledgers come out the same to the last byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from backtest.parity.event_log import EventLog, ledger_event_log
from backtest.parity.interventions import Intervention, Origin, interventions
from backtest.parity.market import RecordedMarket, SessionFiles
from core.component import Component, Message
from core.config.model import Config
from core.contracts import Contract, TradeEvent
from core.market.bars_daemon import SPEC as OHLCV_AGGREGATOR
from core.market.ingest import MarketDataIngest
from core.service.embedded import EmbeddedFleet
from core.service.host import ComponentHost, JournalSet, identity
from core.service.spec import DaemonSpec, assemble
from execution.daemon import SPEC as PAPER_TRADER
from risk.daemon import SPEC as RISK_ENGINE
from strategies.daemon import SPEC as STRATEGY_RUNNER
from strategies.daemon import build as build_strategies

_SPECS: Final[tuple[DaemonSpec, ...]] = (OHLCV_AGGREGATOR, STRATEGY_RUNNER, RISK_ENGINE, PAPER_TRADER)


@dataclass(frozen=True)
class Replay:
    """The size of a replay, and whether it had all the input of the session.

    ``untold`` interventions lie behind the end of the market data. ``strayed`` names the journals of market data that
    came out of it other than they went in: the order in which the session saw them is not wholly known. ``failures``
    are strategies that did not load, ``marks`` the last prices.
    """

    files: SessionFiles
    events: int
    interventions: int
    untold: int = 0
    strayed: tuple[str, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    marks: Mapping[str, float] = field(default_factory=dict)

    def event_log(self, name: str = "replay") -> EventLog:
        """The event log of the replay. Raises LedgerCorruptError."""
        return ledger_event_log(name, self.files, self.marks, tuple(self.remarks))

    @property
    def remarks(self) -> list[str]:
        """The caveats of the replay, as text."""
        remarks = []
        if self.strayed:
            remarks.append(
                f"the order in which the session saw {', '.join(self.strayed)} is not wholly known: trades that came "
                "late or were fetched, or a feed without times of receipt"
            )
        if self.untold:
            remarks.append(f"{self.untold} changes of the kill switch lie behind the end of the market data: left out")
        remarks += [f"strategy {name} did not load: {why}" for name, why in self.failures.items()]
        return remarks


def replay_session(folder: Path, config: Config, into: Path) -> Replay:
    """Run a recorded session again.

    Args:
        folder: the session.
        config: what it ran under. Sessions do not record that; decisions carry the caps they were taken on.
        into: an empty folder for ledgers and journals of the replay.

    Raises:
        ConfigError: no session there, or none of these instruments.
        LedgerCorruptError, CodecError, FatalError: its files cannot be read.
        JournalWriteError: the folder cannot be written to.
    """
    files = SessionFiles.at(folder)
    market = RecordedMarket(files, config.instruments_table())
    session_interventions = interventions(files)
    manager = build_strategies(config, budget_s=None)
    placed = _placed(config, into)
    source = UnwrittenJournals(placed.log_dir)
    ingest = MarketDataIngest(
        config.instruments_table(), market.symbols, backfill=market.live, contiguous=config.exchange.contiguous_ids
    )
    hosts = [_host(spec, placed, manager if spec is STRATEGY_RUNNER else None) for spec in _SPECS]
    run = SessionRun(
        _Fleet(ComponentHost(ingest, source), hosts, lambda messages: run.observe(messages)), session_interventions
    )
    events = run.through(market.events())
    strayed = tuple(stream for stream in market.streams() if source.digest(stream) != _digest(market.lines(stream)))
    return Replay(
        SessionFiles.at(into), events, len(session_interventions), run.untold, strayed, dict(manager.failures),
        market.last_prices(),
    )  # fmt: skip


def _host(spec: DaemonSpec, config: Config, component: Component | None) -> ComponentHost:
    return assemble(spec, config, component, durable=False, reserve_bytes=0, snapshot_every=0)


class _Fleet(EmbeddedFleet):
    """The embedded fleet, in which an intervention may reach some daemons only."""

    def tell_some(self, daemons: Sequence[str], event: Contract) -> None:
        """Give a local event to some daemons, then settle what follows."""
        answers: list[Message] = []
        for host in self.hosts:
            if host.name in daemons:
                answers += host.handle_local(event)
                host.commit()
        self._settle(answers)


class FedFleet(Protocol):
    """The embedded fleet, or its stand-in: takes raw events and local events."""

    source: ComponentHost

    def recover(self) -> None:
        """Get ready."""
        ...

    def feed(self, event: Contract) -> Sequence[Contract]:
        """Take one raw event of the feed, and all that follows."""
        ...

    def tell_some(self, daemons: Sequence[str], event: Contract) -> None:
        """Give a local event to some daemons, then settle what follows."""
        ...

    def close(self) -> None:
        """Release every file."""
        ...


class SessionRun:
    """Feeds the fleet and gives its daemons the interventions, each as late as the session did."""

    def __init__(self, fleet: FedFleet, interventions: Sequence[Intervention]) -> None:
        self.untold = 0  # interventions at times that the market never reached
        self._fleet = fleet
        self._waiting = list(interventions)
        self._awaited = frozenset(origin for intervention in interventions for origin in intervention.behind)
        self._seen: set[Origin] = set()
        self._prices: dict[str, float] = {}

    def observe(self, messages: Sequence[Message]) -> None:
        """Note the market events that an intervention stands behind, and prices."""
        for message in messages if self._waiting else ():
            if isinstance(message.event, TradeEvent):
                self._prices[message.event.symbol] = message.event.price
            if message.entry == (0, 0) and (origin := (message.topic, identity(message.event))) in self._awaited:
                self._seen.add(origin)

    def through(self, events: Iterable[Contract]) -> int:
        """From the first to the last event; how many these were."""
        fleet, count = self._fleet, 0
        fleet.recover()
        try:
            self._intervene(lambda intervention: not intervention.behind and not intervention.marks)
            for event in events:
                count += 1
                if self._waiting and event.ts_ns > fleet.source.clock.now_ns():
                    self._intervene(self._is_behind)
                fleet.feed(event)
                if self._waiting:
                    self._intervene(self._is_due)
            self._intervene(lambda _: True)
            self.untold = len(self._waiting)
        finally:
            fleet.close()
        return count

    def _intervene(self, is_due: Callable[[Intervention], bool]) -> None:
        """Give the due interventions to their daemons; at the latest when the clock moves on."""
        now = self._fleet.source.clock.now_ns()
        due = [waiting for waiting in self._waiting if waiting.event.ts_ns <= now and is_due(waiting)]
        if due:
            self._waiting = [waiting for waiting in self._waiting if waiting not in due]
            for intervention in due:
                self._fleet.tell_some(intervention.daemons, intervention.event)

    def _is_behind(self, intervention: Intervention) -> bool:
        return intervention.behind <= self._seen

    def _is_due(self, intervention: Intervention) -> bool:
        return self._is_behind(intervention) and intervention.marks.items() <= self._prices.items()


class UnwrittenJournals(JournalSet):
    """A journal set that keeps only the checksum of each journal."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._sums: dict[str, Any] = {}

    def append(self, stream: str, line: bytes, ts_ns: int) -> None:
        """See ``JournalSet``."""
        self._sums.setdefault(stream, hashlib.sha256()).update(line + b"\n")

    def digest(self, stream: str) -> str:
        """Of all lines of a stream."""
        checksum = self._sums.get(stream)
        return checksum.hexdigest() if checksum is not None else hashlib.sha256().hexdigest()


def _digest(lines: Iterable[bytes]) -> str:
    checksum = hashlib.sha256()
    for line in lines:
        checksum.update(line + b"\n")
    return checksum.hexdigest()


def _placed(config: Config, into: Path) -> Config:
    """The configuration with everything written below ``into``."""
    app = config.app.model_copy(update={"data_dir": into, "log_dir": into / "journals", "ledger_dir": into / "ledgers"})
    for folder in (into / "journals", into / "ledgers"):
        folder.mkdir(parents=True, exist_ok=True)
    moved = config.model_copy(update={"app": app})
    moved._root = config.root
    return moved
