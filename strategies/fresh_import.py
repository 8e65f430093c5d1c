"""Imports the source of a module as it is now, and leaves the old module whole when the new one fails.

``importlib.reload`` executes into the old module, so that a new version that fails half-way damages the
code that is still running, and it may take cached bytecode of an edit within the same second.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType


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
