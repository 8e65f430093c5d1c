"""The lifecycle of strategies: load, dispatch, contain, reload. A component for every host, and a shell of its own.

Hosts call ``on_event``; ``run`` does the same over a plain bus, for one process without a ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from core import topics
from core.bus import BusProto
from core.config.schema import StrategyConfig
from core.contracts import Contract, FillEvent, OrderIntent, OrderUpdate, RiskDecision
from core.errors import ConfigError, RejectedError
from core.instruments import Instruments
from strategies.context import AnyInstruments
from strategies.entries import RUNNER, entries_in, wants
from strategies.hosting.factory import StrategyFactory
from strategies.hosting.hosted import REMEDY, HostedStrategy, StrategyStatus
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions
from strategies.orders.prices import LastPrices
from strategies.registry import StrategyRegistry
from strategies.time_budget import TimeBudget

BUDGET_S: Final = 1.0  # wall clock for one call of a strategy
_PRIVATE: Final = (FillEvent, OrderUpdate, RiskDecision)  # for the strategy whose order it is about, nobody else
_log: Final = logging.getLogger("njord.strategies")


class StrategyManager:
    """Runs the configured strategies, each behind its own wall.

    Args:
        registry: where classes come from.
        bus: what ``run`` works on, and what strategies may listen to.
        instruments: tick and lot sizes; without them every symbol trades in steps of 1e-8.
        source: reads the configuration again for ``reload``; without it the loaded one is used again.
        budget_s: wall-clock seconds for one call of a strategy; None for none (replays, backtests).
    """

    name = RUNNER

    def __init__(
        self,
        registry: StrategyRegistry,
        bus: BusProto,
        *,
        instruments: Instruments | None = None,
        source: Callable[[], Mapping[str, Any]] | None = None,
        budget_s: float | None = BUDGET_S,
    ) -> None:
        self.failures: dict[str, str] = {}  # by strategy id: why it could not be loaded or reloaded
        self.malformed = 0  # messages that ``run`` skipped
        self._registry = registry
        self._bus = bus
        self._source = source
        self._config: Mapping[str, Any] = {"strategies": []}
        self._prices = LastPrices()
        grid = AnyInstruments() if instruments is None else instruments
        self._positions = StrategyPositions(grid)
        self._orders = OpenOrders(grid)
        self._factory = StrategyFactory(
            registry, bus, self._positions, self._orders, self._prices.view, grid, TimeBudget(budget_s)
        )
        self._hosted: dict[str, HostedStrategy] = {}
        self._routes: dict[tuple[type[Contract], str, str], tuple[HostedStrategy, ...]] = {}

    async def load(self, config: Mapping[str, Any]) -> None:
        """Run the enabled entries of ``config["strategies"]``; see ``install``. Raises ConfigError."""
        self.install(config)

    def install(self, config: Mapping[str, Any]) -> None:
        """Load strategies from configuration. One that cannot be loaded is logged and stands in ``failures``;
        if it ran before, its old version runs on.

        Raises:
            ConfigError: the entries themselves are malformed; nothing was changed.
        """
        entries = [entry for entry in entries_in(config) if entry.enabled]
        self._config = config
        self.failures = {}
        built = {entry.id: self._built(entry) for entry in entries}
        self._hosted = {strategy_id: hosted for strategy_id, hosted in built.items() if hosted is not None}
        self._routes = {}

    async def reload(self) -> None:
        """Hot-reload strategies and their configuration; see ``renew``. A malformed configuration is logged."""
        try:
            self.renew()
        except ConfigError as error:
            _log.error("configuration not reloaded, the old one stays in force: %s", error)

    def renew(self, config: Mapping[str, Any] | None = None) -> None:
        """Take the strategies' code and configuration as they are now (``config`` if given, else of ``source``);
        instruments take a restart.

        What cannot be loaded keeps running as it was and stands in ``failures``, under ``strategies`` when it is
        the configuration itself. Positions and open orders stay; indicators start cold unless the strategy is
        ``Reloadable``.

        Raises:
            ConfigError: the configuration is malformed; everything runs on as it was.
        """
        self._registry.refresh()
        try:
            self.install(config or (self._config if self._source is None else self._source()))
        except ConfigError as error:
            self.failures["strategies"] = str(error)
            raise

    def on_event(self, event: Contract) -> list[Contract]:
        """Bring positions, orders and prices up to date, then ask the strategies the event is for.

        Raises:
            RejectedError: a fill or order update that does not fit its instrument; nothing was booked.
        """
        self._prices.learn(event)
        self._book(event)
        answers: list[Contract] = []
        for hosted in self._recipients(event):
            for answer in hosted.answer(event):
                if isinstance(answer, OrderIntent) and self._orders.asked(answer.intent_id):
                    # The event came twice, over a restart: nobody decides a second time on what was asked for before.
                    _log.warning("%s asked for %s again; left out", answer.strategy_id, answer.intent_id)
                    continue
                self._orders.learn(answer)
                answers.append(answer)
        return answers

    def recover(self, cause: Contract | None, events: Iterable[Contract]) -> None:
        """Take back one transaction: positions are the fold of fills, open orders of what was answered and what became
        of it; the rest is learnt from the market again."""
        self._book(cause)
        for event in events:
            self._orders.learn(event)

    def snapshot(self) -> dict[str, Any]:
        """The positions and open orders of every strategy."""
        return {
            "positions": self._positions.snapshot(),
            "shown": self._positions.shown(),
            "orders": self._orders.snapshot(),
        }

    def load_snapshot(self, snapshot: Mapping[str, Any]) -> None:
        """Take over positions and open orders; later transactions are recovered on top of them. Only for a manager that
        has seen nothing yet.

        Raises:
            UnknownSymbolError, ConfigError, ContractError: it does not fit the instruments.
        """
        self._positions.load(snapshot["positions"], snapshot["shown"])
        self._orders.load(snapshot["orders"])

    def status(self) -> tuple[StrategyStatus, ...]:
        """The status of each loaded strategy, in configured order; what did not load stands in ``failures``."""
        return tuple(hosted.status() for hosted in self._hosted.values())

    async def run(self) -> None:
        """Take events off the bus and publish what the strategies answer, until the bus closes or this is cancelled."""
        async with asyncio.TaskGroup() as group:
            for row in topics.consumed_by(self.name):
                group.create_task(
                    self._follow(row, self._bus.subscribe(row.pattern)), name=f"{self.name} {row.pattern}"
                )

    async def _follow(self, row: topics.Topic, payloads: Any) -> None:
        async for payload in payloads:
            try:
                event = row.contract.from_dict({key: payload[key] for key in payload if not key.startswith("_")})
                answers = self.on_event(event)
            except RejectedError as error:
                self.malformed += 1
                _log.warning("skipped a message on %s: %s", row.pattern, error)
                continue
            for answer in answers:
                await self._bus.publish_json(topics.topic_of(answer), answer.to_dict())

    def _book(self, event: Contract | None) -> None:
        if isinstance(event, FillEvent):
            self._positions.apply(event)  # first: it raises before anything has changed
        if isinstance(event, _PRIVATE):
            self._orders.learn(event)

    def _built(self, entry: StrategyConfig) -> HostedStrategy | None:
        predecessor = self._hosted.get(entry.id)
        module = entry.class_path.rpartition(".")[0]
        if predecessor is not None and module in self._registry.failures:
            self.failures[entry.id] = self._registry.failures[module]
            return predecessor
        try:
            return self._factory.build(entry, predecessor)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 — foreign code: whatever it raises, the others must run
            self.failures[entry.id] = f"{type(error).__name__}: {error}"
            _log.error("strategy %s not loaded: %s; %s", entry.id, self.failures[entry.id], REMEDY, exc_info=error)
            return predecessor

    def _recipients(self, event: Contract) -> Iterable[HostedStrategy]:
        if isinstance(event, _PRIVATE):
            owner = self._hosted.get(event.strategy_id)
            return () if owner is None else (owner,)
        symbol: str = getattr(event, "symbol", "")
        key = (type(event), symbol, getattr(event, "timeframe", ""))  # what a topic is made of, without spelling it
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = tuple(self._route(event, symbol))
        return route

    def _route(self, event: Contract, symbol: str) -> Iterable[HostedStrategy]:
        if type(event) not in topics.BY_CONTRACT:
            return ()  # local to the host, such as the kill switch: the risk engine's business
        topic = topics.topic_of(event)
        return (hosted for hosted in self._hosted.values() if wants(hosted.entry, symbol, topic))
