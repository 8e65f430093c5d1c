"""The main guard of a script that sweeps: worker processes import the script, which must not start another sweep."""

from __future__ import annotations

import ast
import sys
import threading
from pathlib import Path
from types import FrameType


def unguarded_script() -> Path | None:
    """The script whose lines outside ``if __name__ == "__main__":`` are running now; None where there is none.

    Modules run with ``python -m``, notebooks and code given to the interpreter are not imported by workers, or have a
    guard of their own.
    """
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and not (
        frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__"
    ):
        frame = frame.f_back
    if frame is None:
        return None
    path = Path(frame.f_code.co_filename)
    if path.name == "__main__.py":  # which multiprocessing does not import again
        return None
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    running = [node for node in tree.body if node.lineno <= frame.f_lineno <= (node.end_lineno or node.lineno)]
    return path if running and not any(_is_guard(node) for node in running) else None


def _is_script(frame: FrameType) -> bool:
    return frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__"


def _is_guard(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__name__" in {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
