"""Compiled once per machine: numba functions built around a kernel, cached on disk under all the code they contain.

numba's own ``cache=True`` looks at the file of the one function it decorates. It neither sees a change in what that
function calls nor can it name a function that was handed in, so it would run yesterday's indicator in today's kernel.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt
from numba.core.caching import FunctionCache, NullCache
from numba.core.dispatcher import Dispatcher
from numba.extending import register_jitable

from core.errors import ConfigError

_log = logging.getLogger(__name__)
_SCALARS: Final = (bool, int, float, str, bytes, type(None), np.generic)
Floats = npt.NDArray[np.float64]
Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


def kernel_function(function: F) -> F:
    """Compile a kernel's step or a part of it, always inlined; division by zero gives infinity, as in numpy.

    Never cached by itself; what is built around the step is, see ``compiled_with_cache``.
    """
    return cast(F, numba.njit(error_model="numpy", forceinline=True)(function))


def rare_function(function: F) -> F:
    """The same for what is seldom called: the compiler may keep it out of the loop."""
    return cast(F, numba.njit(error_model="numpy")(function))


def kernel_size(function: F) -> F:
    """Let kernels call a function that Python calls too, which runs there as it stands: nothing is compiled for it."""
    return register_jitable(function)


def compiled_with_cache(function: Function) -> Any:
    """``function``, around a kernel in its closure: compiled, without the interpreter lock, cached across processes.

    Where there is no folder for the cache, a warning names the remedy and the function is compiled in every process.

    Raises:
        ConfigError: something that it calls is no compiled function, or caches itself.
    """
    dispatcher: Any = numba.njit(nogil=True, error_model="numpy")(function)
    contents = fingerprint(dispatcher)
    try:
        dispatcher._cache = _FingerprintedCache(function, contents)
    except RuntimeError:  # numba's: neither beside the source nor in a home may it write
        _warn_without_cache()
    return dispatcher


@cache
def _warn_without_cache() -> None:
    _log.warning(
        "compiled kernels are not kept and every process compiles them anew, which takes seconds: expected a folder "
        "for them that this user can write, got neither the checkout nor a home; set NUMBA_CACHE_DIR to one"
    )


def fingerprint(dispatcher: Any) -> str:
    """SHA-256 over the code of a compiled function and of everything that it calls, numpy and numba aside.

    Raises:
        ConfigError: something that it calls is no compiled function, or caches itself.
    """
    digest = hashlib.sha256()
    for part in _parts(dispatcher, set()):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


class _FingerprintedCache(FunctionCache):
    """numba's cache on disk, with the fingerprint in the key of every entry."""

    def __init__(self, function: Function, contents: str) -> None:
        super().__init__(function)  # type: ignore[no-untyped-call]  # numba's
        self._contents = contents

    def _index_key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        return (sig, codegen.magic_tuple(), self._contents)


def _parts(dispatcher: Any, seen: set[FunctionType]) -> Iterator[str]:
    if not isinstance(dispatcher._cache, NullCache):
        raise ConfigError(
            f"kernel {dispatcher.py_func.__qualname__}: expected no cache=True, under which numba misses a change in "
            "what a function calls; use @kernel_function, the loops around it are cached"
        )
    yield repr(dispatcher.targetoptions)
    yield from _function(dispatcher.py_func, seen)


def _function(function: FunctionType, seen: set[FunctionType]) -> Iterator[str]:
    if function in seen:
        return
    seen.add(function)
    yield f"{function.__module__}.{function.__qualname__}"  # numba's files name modules: one that moved is another
    yield from _code(function.__code__)
    scope = {**function.__globals__, **_closure(function)}
    for name in _names(function.__code__):
        if name in scope:
            yield f"{name}="
            yield from _value(scope[name], seen)


def _value(value: Any, seen: set[FunctionType]) -> Iterator[str]:
    if isinstance(value, Dispatcher):
        yield from _parts(value, seen)
    elif isinstance(value, FunctionType):
        yield from _function(value, seen)
    elif isinstance(value, ModuleType):
        yield value.__name__
    elif isinstance(value, _SCALARS):
        yield repr(value)
    elif isinstance(value, tuple):
        for member in value:
            yield from _value(member, seen)
    elif isinstance(value, type) or callable(value):
        fields = getattr(value, "_fields", ())
        yield f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}{fields}"
    else:
        raise ConfigError(
            f"kernel: expected globals that are numbers, texts, modules or compiled functions, got {value!r}; pass "
            "arrays through the state or the parameters"
        )


def _code(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code(constant)
        else:
            yield repr(constant)
    yield repr((code.co_names, code.co_varnames, code.co_freevars))


def _names(code: CodeType) -> list[str]:
    inner = [name for constant in code.co_consts if isinstance(constant, CodeType) for name in _names(constant)]
    return sorted({*code.co_names, *code.co_freevars, *inner})


def _closure(function: FunctionType) -> dict[str, Any]:
    cells = function.__closure__ or ()
    return {name: cell.cell_contents for name, cell in zip(function.__code__.co_freevars, cells, strict=True)}
