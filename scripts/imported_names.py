"""The names that a module imports, and the dotted names behind its expressions."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator


def imported_names(tree: ast.Module, builtins: Iterable[str]) -> dict[str, str]:
    """The dotted name behind each name that an import binds, and the builtins of the list that nothing shadows."""
    names = {name: name for name in builtins}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.arg):
            names.pop(node.arg, None)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.pop(node.id, None)
    return names


def qualified(node: ast.expr, names: dict[str, str]) -> str | None:
    """The dotted name behind an expression such as ``dt.now``, or None when it is no import's."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = qualified(node.value, names)
        return f"{owner}.{node.attr}" if owner else None
    return None


def annotation_nodes(tree: ast.Module) -> Iterator[int]:
    """The nodes inside annotations: a type may be named, it is not read there."""
    for node in ast.walk(tree):
        owners = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            owners.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            owners.append(node.returns)
        for owner in owners:
            if owner is not None:
                yield from (id(inner) for inner in ast.walk(owner))
