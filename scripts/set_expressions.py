"""The set expressions of a module whose order reaches its results.

Types are read from the text alone: set displays and calls, annotations, and names or ``self`` attributes with such a
value. An expression that is not visibly a set is not reported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

_MAKERS: Final = frozenset({"set", "frozenset"})
_TYPES: Final = frozenset({"set", "frozenset", "Set", "FrozenSet", "AbstractSet", "MutableSet"})
_METHODS: Final = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_VIEWS: Final = frozenset({"keys", "items"})
# Callables whose result does not depend on the order of what they are given.
_ORDERLESS: Final = frozenset({"sorted", "set", "frozenset", "len", "any", "all", "min", "max", "bool"})
_ORDERLESS_METHODS: Final = _METHODS | {
    *("update", "difference_update", "intersection_update", "symmetric_difference_update"),
    *("issubset", "issuperset", "isdisjoint"),
}
_ORDERED: Final = frozenset(
    {"list", "tuple", "iter", "enumerate", "sum", "zip", "map", "filter", "reversed", "next", "dict", "deque", "reduce"}
    | {"chain", "fsum", "print", "join", "extend", "fromkeys"}
)


class SetTypes:
    """The sets of a module and the uses of their order."""

    def __init__(self, tree: ast.Module) -> None:
        self._tree = tree
        # Names and attributes by the function, class or module that binds them.
        self._scopes: dict[int, ast.AST] = {}
        self._enter(tree, tree)
        self._names: dict[tuple[int, str], bool] = {}
        for _ in range(3):  # a name given from a name given from a name
            self._learn()

    def ordered_uses(self) -> Iterator[ast.expr]:
        """The set expressions whose order matters where they stand."""
        orderless = self._orderless_comprehensions()
        for node in ast.walk(self._tree):
            if isinstance(node, ast.For | ast.AsyncFor) and self._is_set(node.iter):
                yield node.iter
            elif isinstance(node, ast.ListComp | ast.DictComp | ast.GeneratorExp) and id(node) not in orderless:
                yield from (part.iter for part in node.generators if self._is_set(part.iter))
            elif isinstance(node, ast.Starred) and self._is_set(node.value):
                yield node.value
            elif isinstance(node, ast.Call):
                yield from self._ordered_arguments(node)
            elif isinstance(node, ast.Assign) and self._is_set(node.value):
                yield from (node.value for target in node.targets if isinstance(target, ast.Tuple | ast.List))

    def _ordered_arguments(self, call: ast.Call) -> Iterator[ast.expr]:
        name = _called(call)
        if name in _ORDERED:
            yield from (argument for argument in call.args if self._is_set(argument))
        if name == "pop" and isinstance(call.func, ast.Attribute) and not call.args and self._is_set(call.func.value):
            yield call

    def _orderless_comprehensions(self) -> set[int]:
        """The comprehensions that are handed straight to something that does not look at their order."""
        return {
            id(argument)
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Call) and _called(node) in _ORDERLESS | _ORDERLESS_METHODS
            for argument in node.args
        }

    def _enter(self, node: ast.AST, scope: ast.AST) -> None:
        self._scopes[id(node)] = scope
        inner = node if isinstance(node, _SCOPES) else scope
        for child in ast.iter_child_nodes(node):
            self._enter(child, inner)

    def _learn(self) -> None:
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    self._bind(target, self._is_set(node.value))
            elif isinstance(node, ast.AnnAssign):
                self._bind(node.target, _names_set(node.annotation) or self._is_annotated_set(node))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                arguments = node.args
                for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                    self._names[id(node), argument.arg] = _names_set(argument.annotation)

    def _is_annotated_set(self, node: ast.AnnAssign) -> bool:
        """``NAMES: Final = {…}`` says nothing of the type; the value does."""
        bare = isinstance(node.annotation, ast.Name) and node.annotation.id in {"Final", "ClassVar"}
        return bare and node.value is not None and self._is_set(node.value)

    def _bind(self, target: ast.expr, is_set: bool) -> None:
        if isinstance(target, ast.Name):
            key = id(self._scopes[id(target)]), target.id
        elif isinstance(target, ast.Attribute) and _is_self(target.value):
            key = id(self._class_of(target)), target.attr
        else:
            return
        self._names[key] = self._names.get(key, False) or is_set

    def _class_of(self, node: ast.AST) -> ast.AST:
        """The class whose ``self`` this is; the module where there is none."""
        scope = self._scopes[id(node)]
        while scope is not self._tree and not isinstance(scope, ast.ClassDef):
            scope = self._scopes[id(scope)]
        return scope

    def _is_set(self, node: ast.expr) -> bool:
        match node:
            case ast.Set() | ast.SetComp():
                return True
            case ast.Name():
                return self._name_is_set(node)
            case ast.Attribute():
                return _is_self(node.value) and self._names.get((id(self._class_of(node)), node.attr), False)
            case ast.Call():
                return self._call_gives_set(node)
            case ast.BinOp(op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
                return self._operand(node.left) or self._operand(node.right)
            case ast.IfExp():
                return self._is_set(node.body) or self._is_set(node.orelse)
            case ast.NamedExpr():
                return self._is_set(node.value)
            case ast.BoolOp():
                return any(self._is_set(value) for value in node.values)
        return False

    def _operand(self, node: ast.expr) -> bool:
        """The views of a dict are ordered, but what operators make of them is a set."""
        view = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _VIEWS
        return view or self._is_set(node)

    def _call_gives_set(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Name):
            return call.func.id in _MAKERS
        if isinstance(call.func, ast.Subscript):
            return _names_set(call.func)
        if isinstance(call.func, ast.Attribute) and call.func.attr in _METHODS:
            return self._is_set(call.func.value)
        return False

    def _name_is_set(self, node: ast.Name) -> bool:
        scope: ast.AST | None = self._scopes.get(id(node), self._tree)
        while scope is not None:
            is_set = self._names.get((id(scope), node.id))
            if is_set is not None:
                return is_set
            scope = None if scope is self._tree else self._scopes[id(scope)]
        return False


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Name):
        return call.func.id
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"self", "cls"}


def _names_set(annotation: ast.expr | None) -> bool:
    """True if an annotation is a set type: ``set[str]``, ``frozenset``, ``Final[set[str]]``, ``set[str] | None``."""
    match annotation:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _TYPES
        case ast.Subscript(value=ast.Name(id="Final" | "ClassVar" | "Optional"), slice=inner):
            return _names_set(inner)
        case ast.Subscript(value=outer):
            return _names_set(outer)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _names_set(left) or _names_set(right)
        case ast.Constant(value=str(text)):
            return _names_set(ast.parse(text, mode="eval").body)
    return False
