"""The registry of strategies: found in packages or named by class path, and imported anew on request."""

from __future__ import annotations

import difflib
import importlib
import logging
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Final

from core.errors import ConfigError
from strategies.base import StrategyBase
from strategies.modules import path_of, strategies_in
from strategies.reloading import Reload
from strategies.time_budget import TimeBudget

IMPORT_BUDGET_S: Final = 30.0  # wall clock for one strategy module, its imports included
_log: Final = logging.getLogger("njord.strategies")


class UnknownStrategyError(ConfigError, KeyError):
    """No strategy of that id or class path."""

    __str__ = Exception.__str__


class StrategyRegistry:
    """Strategy classes by id and by class path. ``failures`` tells, by module or class, what was skipped and why."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self._by_id: dict[str, type[StrategyBase]] = {}
        self._modules: dict[str, ModuleType] = {}
        self._packages: list[str] = []
        self._budget = TimeBudget(IMPORT_BUDGET_S)

    def register(self, strategy_class: type[StrategyBase]) -> None:
        """Make a class known by its ``strategy_id``. Raises ConfigError without an id or when it is taken."""
        strategy_id = getattr(strategy_class, "strategy_id", None)
        if not isinstance(strategy_id, str) or not strategy_id:
            raise ConfigError(f"{path_of(strategy_class)}: expected a class attribute strategy_id, got {strategy_id!r}")
        owner = self._by_id.setdefault(strategy_id, strategy_class)
        if owner is not strategy_class:
            raise ConfigError(
                f"strategy_id {strategy_id!r} of {path_of(strategy_class)} is taken by {path_of(owner)}; rename one"
            )

    def get(self, strategy_id: str) -> type[StrategyBase]:
        """The class registered under an id. Raises UnknownStrategyError."""
        strategy_class = self._by_id.get(strategy_id)
        if strategy_class is None:
            raise UnknownStrategyError(_unknown("strategy", strategy_id, list(self._by_id)) + self._skipped())
        return strategy_class

    def discover(self, package: str = "strategies.samples") -> None:
        """Import every module of a package and register its strategies; one that fails is logged and skipped."""
        if package not in self._packages:
            self._packages.append(package)
        for info in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            if info.name not in self._modules:
                self._take_in(info.name, importlib.import_module)

    def resolve(self, path: str) -> type[StrategyBase]:
        """The class of a dotted path, such as ``strategies.samples.trendline_break.TrendlineBreak``.

        Raises:
            UnknownStrategyError: no such module, or no concrete strategy of that name in it.
            ConfigError: the module fails to import.
        """
        module_name, _, name = path.rpartition(".")
        if module_name not in self._modules:
            self._take_in(module_name, importlib.import_module)
        module = self._modules.get(module_name)
        if module is None:
            raise ConfigError(f"{path}: {self.failures[module_name]}")
        candidates = {candidate.__name__: candidate for candidate in strategies_in(module)}
        if name in candidates:
            return candidates[name]
        raise UnknownStrategyError(_unknown(f"strategy class in {module_name}", name, list(candidates)))

    def refresh(self) -> None:
        """Import everything anew, and what it imports of the same author. A module that fails, itself or in what it
        imports, keeps its old version and is in ``failures``."""
        reload = Reload()
        for name in list(self._modules):
            self._take_in(name, reload.module)
        for package in self._packages:
            self.discover(package)

    def _take_in(self, name: str, load: Callable[[str], ModuleType]) -> None:
        try:
            module = self._budget.call(load, name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 — foreign code: whatever it raises, the others must run
            self.failures[name] = f"cannot import {name}: {type(error).__name__}: {error}; correct it, then reload"
            _log.warning("skipped: %s", self.failures[name], exc_info=error)
            return
        self.failures = {place: why for place, why in self.failures.items() if not f"{place}.".startswith(f"{name}.")}
        self._modules[name] = module
        self._by_id = {i: c for i, c in self._by_id.items() if c.__module__ != name}
        for strategy_class in strategies_in(module):
            if "strategy_id" not in vars(strategy_class):
                continue  # none of its own: to be had by its class path alone
            try:
                self.register(strategy_class)
            except ConfigError as error:
                self.failures[path_of(strategy_class)] = str(error)
                _log.warning("not registered: %s", error)

    def _skipped(self) -> str:
        return "".join(f". Skipped: {reason}" for reason in self.failures.values())


def registered(strategy_id: str) -> type[StrategyBase]:
    """The strategy class of that id among the samples, else among the kernels, which bring a compiler. Raises
    UnknownStrategyError."""
    registry = StrategyRegistry()
    registry.discover()
    try:
        return registry.get(strategy_id)
    except UnknownStrategyError:
        registry.discover("strategies.kernels")
        return registry.get(strategy_id)


def _unknown(kind: str, name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"unknown {kind}: {name!r}: expected one of {', '.join(sorted(names)) or 'none found'}{hint}"
