"""Strategy modules: what they define, and how their source is imported as it is now.

``importlib.reload`` is not used: it executes into the old module, so that a new version that fails half-way
damages the code that is still running, and it may take cached bytecode of an edit within the same second.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType

from strategies.base import StrategyBase


def import_fresh(name: str) -> ModuleType:
    """A new module object from the current source, which takes the old one's place in ``sys.modules``.

    Raises:
        ModuleNotFoundError: its file is gone.
        BaseException: whatever the module itself raises; the old module then stays where it was.
    """
    importlib.invalidate_caches()
    parent = name.rpartition(".")[0]
    if parent:
        importlib.import_module(parent)
    before = sys.modules.pop(name, None)
    try:
        return _load(name)
    except BaseException:
        sys.modules.pop(name, None)
        if before is not None:
            sys.modules[name] = before
        raise


def _load(name: str) -> ModuleType:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if isinstance(spec.loader, SourceFileLoader):
        path = spec.loader.get_filename(name)
        code = spec.loader.source_to_code(spec.loader.get_data(path), path)
        exec(code, module.__dict__)
    else:
        spec.loader.exec_module(module)
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return module


def path_of(strategy_class: type[StrategyBase]) -> str:
    """The dotted path of a strategy class."""
    return f"{strategy_class.__module__}.{strategy_class.__qualname__}"


def strategies_in(module: ModuleType) -> list[type[StrategyBase]]:
    """The concrete strategies that a module defines itself, in order."""
    return [
        found
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, StrategyBase)
        and found.__module__ == module.__name__
        and not inspect.isabstract(found)
    ]
