"""Strategies whose decision is a compiled function: the same machine code live, in the event engine and in sweeps.

A kernel sees the bar that has just closed and what it wrote into its state before, nothing else: it cannot look ahead,
and its state is all there is to hand over on a reload. The price is one ring of prices per average; a step over shared
columns would save the copy but give live hosts a history to keep and every kernel the future to stumble into.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, ClassVar, Final, NamedTuple

import numpy as np
from numba import float64, int64

from core.contracts import Contract, OHLCVBar, OrderCancel, OrderIntent
from strategies.base import StrategyBase
from strategies.context import StrategyContext
from strategies.entries import params_of
from strategies.kernel_cache import Floats, compiled_with_cache
from strategies.sampling import one_timeframe
from strategies.target_orders import TargetOrders, TargetParams

_NOTHING: Final = ()
_HOST_TYPES: Final = (float64[::1], float64[::1], int64, *(float64,) * 5)


class KernelBar(NamedTuple):
    """A closed bar as a step sees it. ``ts_ns`` is its close; prices in quote, volume in base currency."""

    ts_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


class KernelParams(TargetParams, frozen=True, kw_only=True):
    """The parameters of a kernel: numbers, in declared order what the step gets; those of TargetParams stay with the
    host. Kernels take every bar they are given: ``period_s`` must be 0."""

    def __post_init__(self) -> None:
        if self.period_s:
            raise ValueError("period_s: expected 0, kernels take bars as they come; choose others under `events`")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """The numbers' names, in the order of ``vector``."""
        return cls.__struct_fields__[len(TargetParams.__struct_fields__) :]

    def vector(self) -> Floats:
        """The numbers that the step gets as ``params``."""
        return np.array([getattr(self, name) for name in self.names()], dtype=np.float64)


@dataclass(slots=True)
class _SymbolState:
    """The state of one symbol's step, and the answer that it gave last."""

    state: Floats
    answer: float = nan


class KernelStrategy(StrategyBase):
    """Aims at the exposure that its ``step`` answers.

    Subclasses define:
        step: ``staticmethod`` of a ``kernel_function`` ``(state, bar, params) -> exposure``: multiples of ``qty`` to
            hold from now on, rounded to the nearest lot; NaN for no opinion. It may read and write ``state`` (zeros at
            first) and must touch nothing else.
        Params: its KernelParams.
        state_size: how many numbers of state the step needs.
        warm_up: how many bars it takes before it can have an opinion.

    An order is sent when the answer changes to a number. One that comes to nothing is tried again when the answer
    changes next, see TargetOrders.
    """

    step: ClassVar[Any]
    Params: ClassVar[type[KernelParams]]
    host_step: ClassVar[Any]
    """The compiled function around the step that ``on_event`` calls."""
    _call: ClassVar[Any]

    def __init_subclass__(cls) -> None:
        """Compile the step for hosts now, while a module is imported: no bar is to wait for a compiler."""
        super().__init_subclass__()
        if "step" in vars(cls):
            cls.host_step = _host_step(cls.step)
            # The machine code itself: the dispatcher in front of it looks at the types of every call, for 0.1 µs.
            cls._call = staticmethod(cls.host_step.compile(_HOST_TYPES))

    @classmethod
    def state_size(cls, params: Any) -> int:
        """The number of float64 that the step keeps."""
        raise NotImplementedError

    @classmethod
    def warm_up(cls, params: Any) -> int:
        """The number of bars that the step needs before its first opinion."""
        raise NotImplementedError

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        params = params_of(context, self.Params)
        self._orders = TargetOrders(context, params)
        self._vector = params.vector()
        self._timeframe = ""
        self._symbols = {symbol: _SymbolState(np.zeros(self.state_size(params))) for symbol in context.symbols}

    def on_event(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        """At most one order under way per symbol, sent when the step's answer changes."""
        if type(event) is not OHLCVBar:
            return self._orders.settle(event)
        if event.timeframe != self._timeframe:
            self._timeframe = one_timeframe(self._timeframe, event)
        memory = self._symbols[event.symbol]
        exposure = self._call(
            memory.state,
            self._vector,
            event.ts_close,
            event.open,
            event.high,
            event.low,
            event.close,
            event.volume,
        )
        if exposure == memory.answer:
            return _NOTHING
        memory.answer = exposure
        if exposure != exposure:  # NaN
            return _NOTHING
        return self._orders.aim(event, event.symbol, exposure, event.close)

    def state(self) -> dict[str, Any]:
        """The aims, and the state for a successor with the same parameters."""
        symbols = {symbol: (memory.state.copy(), memory.answer) for symbol, memory in self._symbols.items()}
        return {"config": dict(self.context.config), "symbols": symbols, "orders": self._orders.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Carry on; with other parameters, symbols or size of state the step starts cold."""
        self._orders.load_state(state["orders"])
        shapes = {symbol: numbers.shape for symbol, (numbers, _) in state["symbols"].items()}
        own_shapes = {symbol: memory.state.shape for symbol, memory in self._symbols.items()}
        if state["config"] == dict(self.context.config) and shapes == own_shapes:
            self._symbols = {
                symbol: _SymbolState(memory.copy(), answer) for symbol, (memory, answer) in state["symbols"].items()
            }


def _host_step(step: Any) -> Any:
    """The step as Python calls it: with the bar as plain numbers, for taking a tuple apart costs 3 µs."""

    def call(
        state: Floats, params: Floats, ts_ns: int, first: float, high: float, low: float, last: float, volume: float
    ) -> float:
        exposure: float = step(state, KernelBar(ts_ns, first, high, low, last, volume), params)
        return exposure

    return compiled_with_cache(call)
