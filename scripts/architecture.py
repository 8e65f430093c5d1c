"""The map of the code: packages, their rooms, and the imports between them, read from the source.

``scripts.generate_docs`` puts both parts into ``docs/architecture.md``: one picture of the packages with their rooms,
and one table of what each room holds and imports. A room is a folder of a package.
"""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import grimp

ROOT: Final = Path(__file__).resolve().parent.parent


@cache
def packages() -> tuple[str, ...]:
    """The packages that import-linter watches, in the order of ``pyproject.toml``."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return tuple(settings["tool"]["importlinter"]["root_packages"])


@cache
def layers() -> tuple[tuple[str, ...], ...]:
    """The packages by layer, the highest first, as the import rules have them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    between_packages = next(rule for rule in contracts if rule["type"] == "layers" and "containers" not in rule)
    return tuple(tuple(name.strip(" :|") for name in layer.split()[::2]) for layer in between_packages["layers"])


@cache
def rooms() -> tuple[str, ...]:
    """The dotted names of all rooms, by package."""
    names: list[str] = []
    for package in packages():
        folders = (path.parent.relative_to(ROOT) for path in (ROOT / package).rglob("__init__.py"))
        names += sorted(".".join(folder.parts) for folder in folders if len(folder.parts) > 1)
    return tuple(names)


def room_of(module: str) -> str:
    """The innermost room a module stands in; its package for a flat module."""
    parts = module.split(".")
    prefixes = (".".join(parts[:size]) for size in range(len(parts), 1, -1))
    return next((prefix for prefix in prefixes if prefix in rooms()), parts[0])


def summary_of(room: str) -> str:
    """The first sentence of a room's docstring, without its full stop."""
    source = (ROOT / room.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return " ".join(docstring.split("\n\n")[0].split()).removesuffix(".")


@cache
def imports() -> Mapping[str, frozenset[str]]:
    """The rooms that each room imports, itself left out."""
    graph = grimp.build_graph(*packages(), cache_dir=None)
    edges: dict[str, set[str]] = defaultdict(set)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            if room_of(imported) != room_of(module):
                edges[room_of(module)].add(room_of(imported))
    return {room: frozenset(targets) for room, targets in edges.items()}


def picture() -> str:
    """The packages by layer with their rooms, as a Mermaid diagram; an arrow says that a package imports another."""
    lines = ["```mermaid", "flowchart TB"]
    for package in (name for layer in layers() for name in layer):
        own_rooms = [room.split(".")[1] for room in rooms() if room.count(".") == 1 and _in(room, package)]
        label = f"<b>{package}</b>" + "".join(f"<br/>{room}" for room in own_rooms)
        lines.append(f'  {package}["{label}"]')
    lines += [f"  {importer} --> {imported}" for importer, imported in _arrows()]
    return "\n".join([*lines, "```"])


def rooms_table() -> Iterable[tuple[str, str, str]]:
    """Each room with what it holds and the rooms it imports; those of its own package first, by their short names."""
    for package in packages():
        for room in (package, *(name for name in rooms() if _in(name, package))):
            targets = sorted(imports().get(room, ()), key=lambda name: (not _in(name, package), name))
            shown = (name.removeprefix(f"{package}.") for name in targets)
            yield f"`{room}`", summary_of(room), ", ".join(shown) or "—"


def _in(room: str, package: str) -> bool:
    return room.startswith(f"{package}.")


def _arrows() -> list[tuple[str, str]]:
    """The imports between packages that do not follow from others: if a → b → c, then a → c is left out."""
    direct: dict[str, set[str]] = {name: set() for name in packages()}
    for importer, targets in imports().items():
        source = importer.split(".")[0]
        direct[source] |= {target.split(".")[0] for target in targets} - {source}

    @cache
    def reached(package: str) -> frozenset[str]:
        return frozenset(direct[package]).union(*(reached(target) for target in direct[package]))

    return [
        (package, target)
        for package in packages()
        for target in sorted(direct[package])
        if not any(target in reached(other) for other in direct[package] - {target})
    ]
