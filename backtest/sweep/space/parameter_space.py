"""The sets of parameters that a sweep looks at: axes of values or spans, what holds between them, sets out of it.

A set is a tuple of values in the order of the axes: small, hashable, and the same after a way through JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import numpy as np

from core.errors import ConfigError

Value = bool | int | float | str | None
ParamSet = tuple[Value, ...]
Constraint = Callable[[Mapping[str, Any]], bool]
_NUMBER: Final = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_SPAN: Final = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?:\.\.({_NUMBER})|(:log))?")
_MOST_SETS: Final = 10_000_000  # of a grid before its constraint
_DRAWS_PER_SET: Final = 1_000  # random draws that may come to nothing before the constraint is called too narrow


@dataclass(frozen=True)
class Choice:
    """One of these values; their order is their neighbourhood."""

    name: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ConfigError(f"parameter {self.name}: expected at least one value, got none")
        for value in self.values:
            if not (value is None or isinstance(value, bool | int | str | float)) or value in (math.inf, -math.inf):
                raise ConfigError(f"parameter {self.name}: expected numbers, texts, true, false or null, got {value!r}")
            if value != value:
                raise ConfigError(f"parameter {self.name}: expected a number, got nan")

    def listed(self) -> tuple[Value, ...]:
        """All values."""
        return self.values

    def drawn(self, rng: np.random.Generator) -> Value:
        """One of them, all equally likely."""
        return self.values[int(rng.integers(len(self.values)))]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"name": self.name, "values": list(self.values)}


@dataclass(frozen=True)
class Span:
    """Any number from ``low`` to ``high``, both included; whole ones where both ends and the step are whole.

    Attributes:
        step: only ``low``, ``low + step``, …
        log: drawn evenly on a logarithmic scale.
    """

    name: str
    low: int | float
    high: int | float
    step: int | float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        fine = self.low <= self.high and math.isfinite(self.low) and math.isfinite(self.high)
        if not fine or (self.step is not None and not self.step > 0) or (self.log and (self.low <= 0 or self.step)):
            raise ConfigError(
                f"parameter {self.name}: expected low <= high, a step above 0, and a low above 0 without a step on a "
                f"logarithmic scale, got {self.to_dict()}"
            )

    @property
    def is_integer(self) -> bool:
        """Whether it is of whole numbers."""
        return all(isinstance(number, int) for number in (self.low, self.high, 1 if self.step is None else self.step))

    def listed(self) -> tuple[Value, ...]:
        """All values. Raises ConfigError where there are endlessly many."""
        if self.step is None and not self.is_integer:
            raise ConfigError(
                f"parameter {self.name}: expected a list or a step for a grid, such as "
                f"{self.low}..{self.high}..{(self.high - self.low) / 10:g}, got {self.low}..{self.high}"
            )
        if self._count > _MOST_SETS:
            raise ConfigError(f"parameter {self.name}: expected at most {_MOST_SETS:,} values, got {self._count:,}")
        return tuple(self._at(n) for n in range(self._count))

    def drawn(self, rng: np.random.Generator) -> Value:
        """One value; on a logarithmic scale where asked for."""
        if self.log:
            at = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return round(at) if self.is_integer else min(max(at, float(self.low)), float(self.high))
        if self.step is not None or self.is_integer:
            return self._at(int(rng.integers(self._count)))
        return float(rng.uniform(self.low, self.high))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"name": self.name, "low": self.low, "high": self.high, "step": self.step, "log": self.log}

    @property
    def _count(self) -> int:
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def _at(self, number: int) -> int | float:
        value = self.low + number * (self.step or 1)
        return value if self.is_integer else float(f"{value:.12g}")  # 0.3, not 0.30000000000000004


Axis = Choice | Span


def choice(name: str, values: Iterable[Any]) -> Choice:
    """An axis of these values, each once. Raises ConfigError for what is no plain value."""
    python_values = (value.item() if isinstance(value, np.generic) else value for value in values)
    try:
        return Choice(name, tuple(dict.fromkeys(python_values)))
    except TypeError:
        raise ConfigError(f"parameter {name}: expected numbers, texts, true, false or null, got {values!r}") from None


def axis_of(name: str, text: str) -> Axis:
    """What stands behind ``--param name=``: ``10,20,30``, ``5..60``, ``5..60..5``, ``0.001..0.1:log`` or one value."""
    if match := _SPAN.fullmatch(text):
        low, high, step, log = match.groups()
        return Span(name, json.loads(low), json.loads(high), json.loads(step) if step else None, bool(log))
    return choice(name, (value_of(part.strip()) for part in text.split(",")))


def value_of(text: str) -> Any:
    """JSON where it is, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class ParameterSpace:
    """The axes and what must hold between their values."""

    axes: tuple[Axis, ...]
    constraint: Constraint | None = None

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"parameters: expected one or more, each named once, got {list(names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in the order of a set's values."""
        return tuple(axis.name for axis in self.axes)

    def named(self, values: ParamSet) -> dict[str, Value]:
        """A set by name."""
        return dict(zip(self.names, values, strict=True))

    def allows(self, values: ParamSet) -> bool:
        """Whether the constraint holds."""
        return self.constraint is None or bool(self.constraint(self.named(values)))

    def grid(self) -> list[ParamSet]:
        """Every allowed combination, the last parameter changing fastest. Raises ConfigError for none or too many."""
        listed = [axis.listed() for axis in self.axes]
        count = math.prod(map(len, listed))
        if count > _MOST_SETS:
            raise ConfigError(f"grid: expected at most {_MOST_SETS:,} combinations, got {count:,}; search at random")
        sets = [values for values in product(*listed) if self.allows(values)]
        if not sets:
            raise ConfigError(f"grid: none of the {count:,} combinations meets the constraint between parameters")
        return sets

    def random(self, count: int, seed: int) -> list[ParamSet]:
        """Up to ``count`` different sets, drawn independently; fewer where there are no more. Raises ConfigError."""
        sets = dict.fromkeys(self._draws(count, np.random.default_rng(seed)))
        if not sets:
            raise ConfigError(f"random search: no set out of {_DRAWS_PER_SET:,} draws meets the constraint")
        return list(sets)

    def _draws(self, count: int, rng: np.random.Generator) -> Iterator[ParamSet]:
        seen: set[ParamSet] = set()
        for _ in range(_DRAWS_PER_SET * count):
            values = tuple(axis.drawn(rng) for axis in self.axes)
            if values in seen or not self.allows(values):
                continue
            seen.add(values)
            yield values
            if len(seen) == count:
                return

    def to_dict(self) -> dict[str, Any]:
        """The axes as plain JSON values."""
        return {"axes": [axis.to_dict() for axis in self.axes]}


def places(column: Iterable[Value]) -> dict[Value, int]:
    """Each value's place among all that occur: the order of numbers, else the order of appearance."""
    values = list(dict.fromkeys(column))
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        return {value: place for place, value in enumerate(sorted(numbers))}
    return {value: place for place, value in enumerate(values)}
