"""Builds hosted strategies from their configuration entries, new ones and the successors of running ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType

from core.bus import BusProto
from core.config.schema import StrategyConfig
from core.errors import ConfigError
from core.instruments import Instruments
from strategies.base import Reloadable
from strategies.context import StrategyContext
from strategies.hosting.admission import Admission
from strategies.hosting.hosted import HostedStrategy, Tally
from strategies.hosting.listening_bus import ListeningBus
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions
from strategies.registry import StrategyRegistry
from strategies.time_budget import TimeBudget


class StrategyFactory:
    """Everything that strategies share: where classes come from and what contexts are views of."""

    def __init__(
        self,
        registry: StrategyRegistry,
        bus: BusProto,
        positions: StrategyPositions,
        orders: OpenOrders,
        prices: Mapping[str, float],
        instruments: Instruments,
        budget: TimeBudget,
    ) -> None:
        self._registry = registry
        self._bus = ListeningBus(bus)
        self._positions = positions
        self._orders = orders
        self._prices = prices
        self._instruments = instruments
        self._budget = budget

    def build(self, entry: StrategyConfig, predecessor: HostedStrategy | None = None) -> HostedStrategy:
        """A strategy ready for events, with what its predecessor hands over.

        Raises:
            ConfigError: its class cannot be had, or one of its symbols is not configured.
            BaseException: whatever its constructor, or the hand-over, raises.
        """
        strategy_class = self._registry.resolve(entry.class_path)
        for symbol in entry.symbols:
            if symbol not in self._instruments:
                raise ConfigError(
                    f"strategy {entry.id!r}: symbols: expected one of {', '.join(self._instruments)}, got {symbol!r}; "
                    "add it under `instruments` in config/base.yaml and restart the strategy_runner"
                )
        strategy = self._budget.call(strategy_class, self._context(entry))
        strategy.strategy_id = entry.id
        if isinstance(strategy, Reloadable) and predecessor is not None:
            state = predecessor.state()
            if state is not None:
                self._budget.call(strategy.load_state, state)
        admission = Admission(entry.id, frozenset(entry.symbols), self._instruments)
        tally = Tally() if predecessor is None else predecessor.tally
        return HostedStrategy(entry, strategy, admission, self._budget, tally)

    def _context(self, entry: StrategyConfig) -> StrategyContext:
        return StrategyContext(
            strategy_id=entry.id,
            bus=self._bus,
            positions=self._positions.view(entry.id, entry.symbols),
            prices=self._prices,
            config=MappingProxyType(copy.deepcopy(dict(entry.params))),
            symbols=entry.symbols,
            instruments=self._instruments,
            orders=self._orders.view(entry.id),
        )
