"""Strategy modules: the concrete strategies that they define, and the paths of these."""

from __future__ import annotations

import inspect
from types import ModuleType

from strategies.base import StrategyBase


def path_of(strategy_class: type[StrategyBase]) -> str:
    """The dotted path of a strategy class."""
    return f"{strategy_class.__module__}.{strategy_class.__qualname__}"


def strategies_in(module: ModuleType) -> list[type[StrategyBase]]:
    """The concrete strategies that a module defines itself, in order."""
    return [
        candidate
        for candidate in vars(module).values()
        if isinstance(candidate, type)
        and issubclass(candidate, StrategyBase)
        and candidate.__module__ == module.__name__
        and not inspect.isabstract(candidate)
    ]
