"""The symbols through which Python code does input and output: names of modules and builtins, and methods of paths.

A decider gets its input as events and gives its output as events. Logging is not on the list: a log line goes one way,
never raises, and no decision reads it. ``print`` is: standard output belongs to commands.
"""

from __future__ import annotations

import ast
from typing import Final

IO_BUILTINS: Final = ("open", "print", "input")

_SYMBOLS: Final = frozenset(
    {*IO_BUILTINS, "io.open", "sys.stdin", "sys.stdout", "sys.stderr"}
    | {f"asyncio.{name}" for name in ("open_connection", "start_server", "open_unix_connection", "start_unix_server")}
    | {f"asyncio.{name}" for name in ("create_subprocess_exec", "create_subprocess_shell")}
)
# Everything in these modules reads, writes, or starts what does.
_MODULES: Final = (
    *(
        "sys.stdin",
        "sys.stdout",
        "sys.stderr",
        "socket",
        "socketserver",
        "ssl",
        "select",
        "selectors",
        "subprocess",
        "multiprocessing",
        "urllib.request",
    ),
    *("http.client", "http.server", "ftplib", "smtplib", "shutil", "tempfile", "glob", "fileinput", "mmap", "fcntl"),
    *("gzip", "bz2", "lzma", "zipfile", "tarfile", "sqlite3", "dbm", "shelve", "webbrowser"),
    *("requests", "httpx", "aiohttp", "websockets", "redis", "ccxt", "polars", "pandas", "pyarrow", "duckdb"),
)
_PURE_OF_OS: Final = frozenset({"os.fspath", "os.PathLike", "os.sep", "os.linesep", "os.fsencode", "os.fsdecode"})
_TOUCHING_OF_OS_PATH: Final = frozenset(
    {"exists", "lexists", "isfile", "isdir", "islink", "ismount", "getsize", "getmtime", "getatime", "getctime"}
    | {"realpath", "samefile", "expanduser", "abspath"}
)
_METHODS: Final = frozenset(
    {"read_text", "read_bytes", "write_text", "write_bytes", "iterdir", "rglob", "mkdir", "rmdir", "unlink"}
    | {"touch", "exists", "is_file", "is_dir", "is_symlink", "lstat", "symlink_to", "hardlink_to", "chmod"}
    | {"samefile", "expanduser", "readlink"}
)


def is_io(symbol: str) -> bool:
    """True if a dotted name, as imported, does input or output."""
    if symbol in _SYMBOLS or symbol.startswith(tuple(f"{module}." for module in _MODULES)):
        return True
    if symbol.startswith("os.path."):
        return symbol.removeprefix("os.path.") in _TOUCHING_OF_OS_PATH
    if symbol.startswith("os.") and symbol.count(".") == 1:
        return symbol not in _PURE_OF_OS and symbol != "os.path" and not symbol.startswith("os.O_")
    return False


def path_method(call: ast.Call) -> str | None:
    """The method that a call names, as ``….read_text``, where paths alone have one of that name."""
    function = call.func
    if not isinstance(function, ast.Attribute):
        return None
    if function.attr == "open":  # of a path it takes a mode and no other argument by place
        modes = all(isinstance(argument, ast.Constant) and isinstance(argument.value, str) for argument in call.args)
        return "….open" if modes else None
    return f"….{function.attr}" if function.attr in _METHODS else None
