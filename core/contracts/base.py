"""The parts of every contract: the base class, strict construction from plain values, and the checks of fields.

A check raises ``ContractError`` with the contract, the field, what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from math import inf, isfinite
from operator import gt, lt
from typing import Any, ClassVar, Final, Self, get_args, get_type_hints

import msgspec

from core.errors import ContractError

Level = tuple[float, float]

LATEST_NS: Final = 2**63 - 1  # timestamps are int64 wherever they are stored
MAX_NESTING: Final = 16  # objects within objects in ``meta``, ``inputs`` and ``caps``


class Contract:
    """The base of every message. Subclasses are frozen, slotted dataclasses."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def ts_ns(self) -> int:
        """The moment this fact is about, UTC epoch nanoseconds."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The message as plain JSON values, every field present, in declared order."""
        values: dict[str, Any] = msgspec.to_builtins(self)
        return values

    @classmethod
    def from_dict(cls, payload: Mapping[str, Any]) -> Self:
        """Build the message from plain values.

        Raises:
            ContractError: an unknown or missing field, a wrong type, a value outside its range.
        """
        if not isinstance(payload, Mapping):
            raise ContractError(f"{cls.__name__}: expected an object, got {type(payload).__name__}")
        refuse_unknown_fields(cls, payload)
        try:
            return msgspec.convert(payload, cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise ContractError(named_after(cls, error)) from None


def named_after(contract: type[Contract], error: Exception) -> str:
    """The error's text, beginning with the contract's name as our own texts do already."""
    text = str(error)
    return text if text.startswith(f"{contract.__name__}.") else f"{contract.__name__}: {text}"


def refuse_unknown_fields(contract: type[Contract], payload: Mapping[str, Any]) -> None:
    """Raise ContractError when the payload, or a contract within it, has a key that its contract does not know."""
    contract_fields = known_fields(contract)  # type: ignore[arg-type]  # mypy takes the instances' __hash__ for the class's
    unknown = [str(key) for key in payload if key not in contract_fields]
    if unknown:
        raise ContractError(
            f"{contract.__name__}: unknown field {', '.join(sorted(unknown))}; expected {', '.join(contract_fields)}"
        )
    for name, nested in contract_fields.items():
        if nested is not None and isinstance(payload.get(name), Mapping):
            refuse_unknown_fields(nested, payload[name])


@cache
def known_fields(contract: type[Contract]) -> Mapping[str, type[Contract] | None]:
    """The names of a contract's fields in declared order, each with the contract that the field holds, if any."""
    hints = get_type_hints(contract)
    return {f.name: _contract_in(hints[f.name]) for f in fields(contract)}


def _contract_in(hint: Any) -> type[Contract] | None:
    contracts = (kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and issubclass(kind, Contract))
    return next(contracts, None)


def fail(contract: object, name: str, expected: str, got: object) -> ContractError:
    return ContractError(f"{type(contract).__name__}.{name}: expected {expected}, got {got!r}")


def check_positive(contract: object, name: str, value: float) -> None:
    if not 0 < value < inf:
        raise fail(contract, name, "a finite number above 0", value)


def check_not_negative(contract: object, name: str, value: float) -> None:
    if not 0 <= value < inf:
        raise fail(contract, name, "a finite number of at least 0", value)


def check_finite(contract: object, name: str, value: float) -> None:
    if not isfinite(value):
        raise fail(contract, name, "a finite number", value)


def check_named(contract: object, name: str, value: str) -> None:
    if not value:
        raise fail(contract, name, "a non-empty string", value)


def check_one_of(contract: object, name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise fail(contract, name, f"one of {', '.join(allowed)}", value)


def check_time(contract: object, name: str, value: int) -> None:
    if not 0 <= value <= LATEST_NS:
        raise fail(contract, name, "a time in UTC epoch nanoseconds, 0 to 2^63-1", value)


def check_ladder(contract: object, name: str, levels: tuple[Level, ...], *, descending: bool) -> None:
    """Levels of finite numbers above 0, strictly ordered from the best price outwards."""
    if not levels:
        return
    prices, quantities = zip(*levels, strict=True)
    if (
        isfinite(sum(prices) + sum(quantities))  # ambient: only asked for NaN and infinity
        and min(prices[0], prices[-1]) > 0
        and min(quantities) > 0
        and all(map(gt if descending else lt, prices, prices[1:]))
    ):
        return
    for level in levels:
        if not all(0 < number < inf for number in level):
            raise fail(contract, name, "levels of finite numbers above 0", level)
    raise fail(contract, name, "levels ordered from the best price outwards, each once", prices)


def check_shallow(contract: object, name: str, value: dict[str, Any]) -> None:
    """Refuse what a reader or writer of JSON would run out of stack on."""
    if not value:
        return
    level: list[Any] = [value]
    for _ in range(MAX_NESTING):
        level = [nested for outer in level for nested in _inside(outer) if isinstance(nested, dict | list | tuple)]
        if not level:
            return
    raise fail(contract, name, f"values nested at most {MAX_NESTING} deep", "deeper ones")


def _inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value
