"""The last traceback of a process, masked: of errors that nobody caught, in the main thread, threads and finalizers."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Final

from core.logging.redaction import KnownSecrets

_OTHERS: Final = ("typer", "rich")  # hooks of command-line libraries print no less than Python's own


def mask_uncaught(secrets: Iterable[str]) -> None:
    """Print uncaught errors with the secrets masked from now on. A hook that somebody else set, a debugger, stays."""
    known_secrets = KnownSecrets(secrets)

    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, title: str) -> None:
        lines = traceback.format_exception(kind, error, trace)
        print(known_secrets.redact_text(title + "".join(lines)).rstrip(), file=sys.stderr)

    def in_main(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        show(kind, error, trace, "")

    def in_thread(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread is not None else "that has ended"
        show(args.exc_type, args.exc_value, args.exc_traceback, f"error in thread {name}\n")

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        show(args.exc_type, args.exc_value, args.exc_traceback, f"{args.err_msg or 'error that cannot be raised'}\n")

    if _replaceable(sys.excepthook):
        sys.excepthook = in_main
    if _replaceable(threading.excepthook):
        threading.excepthook = in_thread
    if _replaceable(sys.unraisablehook):
        sys.unraisablehook = unraisable


def _replaceable(hook: object) -> bool:
    module = str(getattr(hook, "__module__", ""))
    builtin = hook in (sys.__excepthook__, threading.__excepthook__, sys.__unraisablehook__)
    return builtin or module == __name__ or module.partition(".")[0] in _OTHERS
