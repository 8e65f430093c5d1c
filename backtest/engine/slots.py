"""Strategy slots: strategies of a run, built with the contexts they have live, and the admission of their answers.

A backtest trusts no result of a strategy that failed, so an exception ends the run instead of being contained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Final, cast

from pydantic import ValidationError

from backtest.errors import StrategyFailedError
from core.bus import MemoryBus
from core.config.expectations import expectation
from core.config.schema import StrategyConfig
from core.contracts import ClockTick, Contract, OrderCancel, OrderIntent
from core.errors import ConfigError, ContractError, NjordError, RejectedError
from core.instruments import Instruments
from core.topics import BY_CONTRACT
from strategies.base import StrategyBase
from strategies.context import StrategyContext
from strategies.hosting.admission import ANSWER_LIMIT, Admission
from strategies.hosting.factory import StrategyFactory
from strategies.orders.open_orders import OpenOrders
from strategies.orders.positions import StrategyPositions
from strategies.registry import StrategyRegistry
from strategies.time_budget import TimeBudget

MakeStrategy = Callable[[StrategyContext], StrategyBase]  # a class is one
EVERYTHING: Final = ("md.ohlcv.*", "md.trades.*")
CLOCK: Final = BY_CONTRACT[ClockTick].template


@dataclass(frozen=True)
class Entrant:
    """A strategy that takes part in a run: how to make it, its symbols, its parameters, the topics it subscribes to.

    ``make`` is its class, or any function from context to strategy.
    """

    strategy_id: str
    make: MakeStrategy
    symbols: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = EVERYTHING


class _SingleStrategy(StrategyRegistry):
    """A registry of one strategy, under any path."""

    def __init__(self, make: MakeStrategy) -> None:
        super().__init__()
        self._make = make

    def resolve(self, path: str) -> type[StrategyBase]:
        return cast(type[StrategyBase], self._make)  # the factory only calls it


class StrategySlot:
    """A strategy with its admission: the checks that its answers pass, as live.

    Attributes:
        refused: the reasons of answers that were not admitted.
    """

    def __init__(self, entrant: Entrant, strategy: StrategyBase, instruments: Instruments) -> None:
        self.strategy_id = entrant.strategy_id
        self.symbols = entrant.symbols
        self.strategy = strategy
        self.on_event = strategy.on_event
        self.refused: list[str] = []
        self._globs = entrant.events
        self._instruments = instruments
        self._admission = Admission(entrant.strategy_id, frozenset(entrant.symbols), instruments)

    def wants(self, topic: str, symbol: str) -> bool:
        """Whether a market event is for this strategy; one without a symbol (the clock) is for every one."""
        return (not symbol or symbol in self.symbols) and any(fnmatchcase(topic, glob) for glob in self._globs)

    def call(self, event: Contract) -> list[OrderIntent | OrderCancel]:
        """The admitted answers of the strategy to an event. Raises StrategyFailedError."""
        try:
            answered = self.on_event(event)
        except Exception as error:
            raise StrategyFailedError(self.strategy_id, event, error) from error
        return self.admitted(answered, event) if answered else []

    def admitted(self, answered: object, event: Contract) -> list[OrderIntent | OrderCancel]:
        """The answers to an event, checked and completed as live. Raises StrategyFailedError."""
        if not isinstance(answered, Iterable):
            self.refused.append(f"expected an iterable of OrderIntent, got {type(answered).__name__}; return a list")
            return []
        try:
            answers = list(islice(answered, ANSWER_LIMIT + 1))
        except Exception as error:
            raise StrategyFailedError(self.strategy_id, event, error) from error
        if len(answers) > ANSWER_LIMIT:
            self.refused.append(f"expected at most {ANSWER_LIMIT} answers to one event, got more; all were dropped")
            return []
        admitted: list[OrderIntent | OrderCancel] = []
        for index, answer in enumerate(answers):
            if type(answer) is OrderIntent and self._is_complete(answer, event):
                admitted.append(answer)
                continue
            try:
                admitted.append(self._admission.admit(answer, event, index))
            except RejectedError as error:
                self.refused.append(str(error))
        return admitted

    def _is_complete(self, intent: OrderIntent, event: Contract) -> bool:
        """Whether admission would let the intent through just as it is; it is asked about everything else."""
        limit = intent.limit_price
        if (
            intent.meta
            or intent.ts_local_ns != event.ts_ns
            or intent.strategy_id != self.strategy_id
            or intent.symbol not in self.symbols
            or type(intent.qty) is not float
            or not (limit is None or type(limit) is float)
            or type(intent.intent_id) is not str
            or not intent.intent_id
            or not intent.intent_id.isascii()
        ):
            return False
        instrument = self._instruments[intent.symbol]
        try:
            instrument.lots(intent.qty)
            if limit is not None:
                instrument.ticks(limit)
        except ContractError:
            return False
        return True


def entry_of(entrant: Entrant) -> StrategyConfig:
    """The entrant as an entry of a configuration. Raises ConfigError for an id or a symbol that none could have."""
    try:
        return StrategyConfig(
            id=entrant.strategy_id,
            class_path="backtest.engine.slots.Entrant",
            symbols=entrant.symbols,
            events=entrant.events,
            params=dict(entrant.params),
        )
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        field = {"id": "id", "symbols": "symbol"}.get(str(detail["loc"][0]), str(detail["loc"][0]))
        raise ConfigError(
            f"strategy {entrant.strategy_id!r}: {field}: {expectation(detail)}, got {detail['input']!r}"
        ) from None


def slots_of(
    entrants: Sequence[Entrant],
    positions: StrategyPositions,
    orders: OpenOrders,
    prices: Mapping[str, float],
    instruments: Instruments,
) -> tuple[StrategySlot, ...]:
    """The strategies ready for events, by id, so that the order they were named in changes nothing.

    Raises:
        ConfigError: an id twice, a symbol that is not configured, a strategy that cannot be built.
    """
    names = [entrant.strategy_id for entrant in entrants]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"strategies: expected one or more, each under an id of its own, got {names}")
    slots = []
    for entrant in sorted(entrants, key=lambda entrant: entrant.strategy_id):
        entry = entry_of(entrant)
        factory = StrategyFactory(
            _SingleStrategy(entrant.make), MemoryBus(), positions, orders, prices, instruments, TimeBudget(None)
        )
        try:
            strategy = factory.build(entry).strategy
        except NjordError:
            raise
        except Exception as error:
            raise ConfigError(
                f"strategy {entrant.strategy_id!r} cannot be built: {type(error).__name__}: {error}"
            ) from error
        slots.append(StrategySlot(entrant, strategy, instruments))
    return tuple(slots)
