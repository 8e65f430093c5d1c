"""The entries of ``config/strategies.yaml`` as the manager takes them, and their ``params`` as typed values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from core import topics
from core.config.expectations import expectation
from core.config.schema import StrategyConfig
from core.errors import ConfigError
from strategies.context import StrategyContext

RUNNER: Final = "strategy_runner"  # the daemon whose topics strategies may ask for
M = TypeVar("M", bound=msgspec.Struct)


def entries_in(config: Mapping[str, Any]) -> tuple[StrategyConfig, ...]:
    """The entries under ``strategies``, in order, disabled ones included.

    Raises:
        ConfigError: an unknown or missing key, a wrong type, an id that stands twice, an unknown topic.
    """
    listed = config.get("strategies")
    if not isinstance(listed, list | tuple):
        raise ConfigError(f"config/strategies.yaml: strategies: expected a list, got {type(listed).__name__}")
    entries: dict[str, StrategyConfig] = {}
    for index, raw in enumerate(listed):
        place = f"config/strategies.yaml: strategies[{index}]"
        entry = raw if isinstance(raw, StrategyConfig) else checked_entry(raw, place)
        if entry.id in entries:
            raise ConfigError(f"{place}.id: expected a unique id, got {entry.id!r} a second time; rename one")
        for pattern in entry.events:
            _check_topic(pattern, f"{place}.events")
        entries[entry.id] = entry
    return tuple(entries.values())


def wants(entry: StrategyConfig, symbol: str, topic: str) -> bool:
    """True when a market event is for this strategy; an event about no symbol, such as the clock, is for every one."""
    return (not symbol or symbol in entry.symbols) and any(fnmatchcase(topic, glob) for glob in entry.events)


def params_of(context: StrategyContext, model: type[M]) -> M:
    """The strategy's ``params`` as a typed value with its defaults.

    Raises:
        ConfigError: a parameter is unknown, of the wrong type or outside its range; the text lists the known ones.
    """
    try:
        return msgspec.convert(dict(context.config), model)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"strategy {context.strategy_id!r}: params: {error}; expected {', '.join(model.__struct_fields__)}"
        ) from None


def checked_entry(values: object, place: str) -> StrategyConfig:
    """An entry out of plain values; ``place`` names it in the error.

    Raises:
        ConfigError: an unknown or missing key, or a value that its key does not take.
    """
    try:
        return StrategyConfig.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{place}.{_detail(details)}" for details in error.errors())
        keys = ", ".join(field.alias or name for name, field in StrategyConfig.model_fields.items())
        raise ConfigError(f"{wrong}. An entry has the keys {keys}") from None


def _detail(details: ErrorDetails) -> str:
    key = ".".join(map(str, details["loc"]))
    if details["type"] in ("missing", "extra_forbidden"):
        return f"{key}: {details['msg']}"
    return f"{key}: {expectation(details)}, got {details['input']!r}"


def _check_topic(pattern: str, place: str) -> None:
    allowed = [row.pattern for row in topics.consumed_by(RUNNER)]
    if not any(fnmatchcase(topic, pattern) or fnmatchcase(pattern, topic) for topic in allowed):
        near = difflib.get_close_matches(pattern, allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{place}: expected topics or globs of {', '.join(allowed)}, got {pattern!r}{hint}")
