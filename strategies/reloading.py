"""Reloads of author code: a module and what it imports of the same author, from the source as it is now, all or none.

``importlib.reload`` is not used: it executes into the old module, so that a new version that fails half-way damages the
code that is still running, and it may take cached bytecode of an edit within the same second. What a module imports is
read from its source; a module imported by a call is not followed.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent
_INSTALLED: Final = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
FRAMEWORK: Final = ("core", "strategies", "risk", "execution", "portfolio", "research", "backtest")
"""Packages that strategies are written against. Of ``strategies`` only the modules beside the one that is reloaded, as
the samples, are an author's; the rest runs on, or the host would no longer know its own classes."""
_HOST: Final = frozenset({"strategies.kernels.strategy"})


class Reload:
    """One reload: every module is imported anew once, so that strategies that share a parent still do."""

    def __init__(self) -> None:
        self._imported: dict[str, ModuleType] = {}
        importlib.invalidate_caches()

    def module(self, name: str) -> ModuleType:
        """The module with its current source, and so every module of its author that it imports.

        They take the places of the old ones in ``sys.modules``. When one of them fails, all old ones stay.

        Raises:
            ModuleNotFoundError: its file is gone.
            BaseException: whatever the modules themselves raise.
        """
        if name in self._imported:
            return self._imported[name]
        parent = name.rpartition(".")[0]
        if parent:
            importlib.import_module(parent)
        names = [dependency for dependency in _closure(name) if dependency not in self._imported]
        replaced = {dependency: sys.modules.pop(dependency, None) for dependency in names}
        try:
            modules = {dependency: _import_anew(dependency) for dependency in names}
        except BaseException:
            for dependency, module in replaced.items():
                sys.modules.pop(dependency, None)
                if module is not None:
                    _put(dependency, module)
            raise
        self._imported.update(modules)
        return modules[name]


def _closure(name: str) -> list[str]:
    """The module and what it imports of the same author, each after what it imports itself."""
    root = _root(name)
    order: dict[str, None] = {}
    visited: set[str] = set()

    def visit(module: str, path: Path | None) -> None:
        visited.add(module)
        for imported in _imports(module, path) if path is not None else ():
            source = _source(imported, name, root) if root is not None and imported not in visited else None
            if source is not None:
                visit(imported, source)
        order[module] = None

    visit(name, None if root is None else _file(root, name))
    return list(order)


def _root(name: str) -> Path | None:
    """The folder that the module's top-level package is in; None when it has no source file."""
    spec = importlib.util.find_spec(name)
    if spec is None or not isinstance(spec.loader, SourceFileLoader) or spec.origin is None:
        return None
    path = Path(spec.origin)
    depth = name.count(".") + (path.name == "__init__.py")
    return path.parents[depth]


def _source(imported: str, name: str, root: Path) -> Path | None:
    """The file of an imported module if it is of the same author as the module of that name, else None."""
    top, own_top = imported.partition(".")[0], name.partition(".")[0]
    if imported in _HOST or imported == name:
        return None
    if own_top in FRAMEWORK and root == PROJECT:
        if imported.rpartition(".")[0] != name.rpartition(".")[0]:
            return None
    elif top != own_top and (root == PROJECT or any(root == folder for folder in _INSTALLED)):
        return None
    return _file(root, imported)


def _file(root: Path, name: str) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(name: str, path: Path) -> Iterator[str]:
    """Every name that an import statement of the source may mean a module by."""
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError):
        return  # its import will say so
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            levels = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*levels, *([node.module] if node.module else [])])
            yield module
            for alias in node.names:
                yield f"{module}.{alias.name}"


def _import_anew(name: str) -> ModuleType:
    if name in sys.modules:  # one of a circle: imported by what was imported anew before
        return sys.modules[name]
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)
    _put(name, module)
    if isinstance(spec.loader, SourceFileLoader):
        path = spec.loader.get_filename(name)
        code = spec.loader.source_to_code(spec.loader.get_data(path), path)
        exec(code, module.__dict__)
    else:
        spec.loader.exec_module(module)
    return module


def _put(name: str, module: ModuleType) -> None:
    """Make a module the one of its name, for its package and for its own modules too."""
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], last, module)
    for child, loaded in list(sys.modules.items()):
        if child.rpartition(".")[0] == name:
            setattr(module, child.rpartition(".")[2], loaded)
