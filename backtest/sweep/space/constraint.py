"""Constraints between parameters as text, such as ``fast < slow and 2 * fast <= slow``: parsed and checked, not run.

Only comparisons, and/or/not, + - * / // %, abs/min/max, names of parameters and constants exist in this language.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from core.errors import ConfigError

_LONGEST: Final = 1_000  # characters
_BINARY: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_UNARY: Final[Mapping[type[ast.unaryop], Callable[[Any], Any]]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARE: Final[Mapping[type[ast.cmpop], Callable[[Any, Any], Any]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_CALLS: Final[Mapping[str, Callable[..., Any]]] = {"abs": abs, "min": min, "max": max}


class Where:
    """A constraint read from text; called with a set by name, it says whether the set is allowed.

    Raises:
        ConfigError: text outside the language, or a name that is no parameter (with the names there are).
    """

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text = text
        if len(text) > _LONGEST:
            raise ConfigError(f"--where: expected at most {_LONGEST} characters, got {len(text)}")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError) as error:
            raise self._wrong(f"expected a comparison such as fast < slow, got {text!r}: {error}") from None
        self._check(self._tree, frozenset(names))

    def __repr__(self) -> str:
        return f"Where({self.text!r})"

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Whether it holds. Raises ConfigError where values cannot be compared or divided."""
        try:
            return bool(self._value(self._tree, values))
        except (TypeError, ArithmeticError) as error:
            raise self._wrong(f"{self.text!r} cannot be said of {dict(values)}: {error}") from None

    def _check(self, node: ast.AST, names: frozenset[str]) -> None:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return
            case ast.Name(id=name):
                if name not in names:
                    raise self._wrong(f"expected one of the parameters {', '.join(sorted(names))}, got {name!r}")
                return
            case ast.BoolOp(values=parts):
                pass
            case ast.UnaryOp(op=op, operand=part) if type(op) in _UNARY:
                parts = [part]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                parts = [left, right]
            case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _COMPARE for op in ops):
                parts = [left, *others]
            case ast.Call(func=ast.Name(id=name), args=parts, keywords=[]) if name in _CALLS and parts:
                pass
            case _:
                raise self._wrong(
                    "expected comparisons, and/or/not, + - * / // %, abs, min, max, parameters and constants, got "
                    f"{ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__!r}"
                )
        for part in parts:
            self._check(part, names)

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return values[name]
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._value(part, values) for part in parts)
            case ast.BoolOp(values=parts):
                return any(self._value(part, values) for part in parts)
            case ast.UnaryOp(op=op, operand=part):
                return _UNARY[type(op)](self._value(part, values))
            case ast.BinOp(left=left, op=op, right=right):
                return _BINARY[type(op)](self._number(left, values), self._number(right, values))
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compared(left, ops, others, values)
            case ast.Call(func=ast.Name(id=name), args=parts):
                return _CALLS[name](*(self._number(part, values) for part in parts))
        raise self._wrong(f"expected what was checked before, got {ast.dump(node)}")

    def _compared(
        self, first: ast.expr, ops: list[ast.cmpop], others: list[ast.expr], values: Mapping[str, Any]
    ) -> bool:
        value = self._value(first, values)
        for op, other in zip(ops, others, strict=True):
            following = self._value(other, values)
            if not _COMPARE[type(op)](value, following):
                return False
            value = following
        return True

    def _number(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        value = self._value(node, values)
        if not isinstance(value, int | float):  # a text times a number could fill the memory
            raise TypeError(f"expected a number, got {value!r}")
        return value

    def _wrong(self, problem: str) -> ConfigError:
        return ConfigError(f"--where: {problem}")
