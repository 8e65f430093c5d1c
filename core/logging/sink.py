"""The sink of log lines: one file for all daemons, every line one append that the kernel does not split.

Nothing in it ever raises: a daemon does not die of its log. Lost lines are counted, and the first one is reported.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from core.disk import make_private_folders, open_private

FILE_NAME: Final = "app.ndjson"
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_NOWHERE: Final = -1


class LogSink:
    """Appends lines to a file, and to stderr as well with ``stream``: for people where that is a terminal.

    ``written`` and ``lost`` count lines of the file. A file that was moved away (by log rotation) is opened anew.
    """

    def __init__(self, path: Path | None, *, stream: bool = False) -> None:
        self.path = path
        self.written = 0
        self.lost = 0
        self._stream = stream
        self._handle = _NOWHERE
        self._identity = (0, 0)
        self._torn = False
        self._complained = False

    def write(self, line: bytes) -> None:
        """Append one line, given without its newline."""
        if self.path is not None:
            try:
                self._append(self.path, line)
            except OSError as error:
                self._lose(f"{self.path}: {error.strerror or error}")
        if self._stream:
            _to_stderr(for_people(line) if _on_terminal() else line)

    def leave_stderr(self) -> None:
        """Write to the file alone from now on: the command itself reports on stderr from there."""
        self._stream = False

    def lose(self, reason: str) -> None:
        """Count a line that never became one, and say so the first time."""
        self._lose(reason)

    def close(self) -> None:
        """Let go of the file; a later write opens it again."""
        if self._handle != _NOWHERE:
            handle, self._handle = self._handle, _NOWHERE
            with suppress(OSError):
                os.close(handle)

    def _append(self, path: Path, line: bytes) -> None:
        self._open(path)
        # After a torn line (the disk was full) the next one starts on a line of its own.
        data = b"\n%b\n" % line if self._torn else b"%b\n" % line
        count = os.write(self._handle, data)
        self._torn = count < len(data)
        if self._torn:
            self._lose(f"{path}: {count} of {len(data)} bytes written")
        else:
            self.written += 1

    def _open(self, path: Path) -> None:
        """Make sure that the handle is the file of that name, also after log rotation."""
        with suppress(FileNotFoundError):
            now = os.stat(path)
            if self._handle != _NOWHERE and (now.st_dev, now.st_ino) == self._identity:
                return
        self.close()
        make_private_folders(path.parent)
        self._handle = open_private(path, _FLAGS)
        opened = os.fstat(self._handle)
        self._identity = (opened.st_dev, opened.st_ino)
        self._torn = False

    def _lose(self, reason: str) -> None:
        self.lost += 1
        if not self._complained:
            self._complained = True
            text = f"njord: log line lost: {reason}. Further losses are counted, not reported."
            _to_stderr(text.encode("utf-8", "backslashreplace"))


def for_people(line: bytes) -> bytes:
    """A log line as it is shown on a terminal: time, level, service, event, then the other fields."""
    fields: dict[str, Any] = msgspec.json.decode(line)
    time, level, service = fields.pop("timestamp")[11:19], fields.pop("level").upper(), fields.pop("service")
    fields.pop("logger")
    text = f"{time} {level:<7} {service}  {fields.pop('event')}"
    trace = fields.pop("exception", "")
    rest = " ".join(f"{name}={value}" for name, value in fields.items())
    return "\n".join(part for part in (f"{text}  {rest}".rstrip(), trace) if part).encode()


def _on_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # none at all, or closed
        return False


def _to_stderr(line: bytes) -> None:
    with suppress(OSError, ValueError, AttributeError):  # closed, or none at all under a service manager
        sys.stderr.write(line.decode("utf-8", "replace") + "\n")
        sys.stderr.flush()
