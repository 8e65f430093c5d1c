"""The skips that continuous integration accepts. Any other one fails there: a test that never runs proves nothing.

An entry applies where its condition holds. There its tests must skip, so that an entry which nothing needs any more
fails too; elsewhere they must run.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

import pytest

from scripts.run_redis import server_binary
from tests.support.recordings import recordings_folder


@dataclass(frozen=True, slots=True)
class AcceptedSkip:
    """An entry of the list.

    Attributes:
        tests: pattern of node ids, as ``fnmatch`` takes it.
        message: a part of what the skip says.
        reason: why it is right that they do not run.
        applies: whether this machine lacks what they need.
    """

    tests: str
    message: str
    reason: str
    applies: Callable[[], bool]

    def covers(self, node_id: str, message: str) -> bool:
        """Whether it accepts this skip on this machine."""
        return self.message in message and self.concerns(node_id) and self.applies()

    def concerns(self, node_id: str) -> bool:
        """Whether it speaks of this test, or of the file that could not be collected."""
        return fnmatchcase(node_id, self.tests)


def _no_recordings() -> bool:
    return recordings_folder() is None


def _no_redis_server() -> bool:
    return server_binary("redis") is None


def _cannot_mount() -> bool:
    return not sys.platform.startswith("linux") or os.geteuid() != 0


def _no_browser() -> bool:
    return not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))


ACCEPTED: Final = (
    AcceptedSkip("*", "recorded market data not found", "recordings are not part of the repository", _no_recordings),
    AcceptedSkip("tests/backtest/report/*", "no Chromium", "Debian's browser takes root to install", _no_browser),
    AcceptedSkip("*", "no redis server on this machine", "Debian's server takes root to install", _no_redis_server),
    AcceptedSkip(
        "tests/core/journal/test_faults.py::*", "mounting a tmpfs needs root", "only root may mount", _cannot_mount
    ),
)


class SkipJudge:
    """Tells which skips fail a run, and which entries nothing needed.

    Args:
        accepted: the list.
    """

    def __init__(self, accepted: Sequence[AcceptedSkip] = ACCEPTED) -> None:
        self._accepted = accepted
        self._concerned: set[AcceptedSkip] = set()
        self._needed: set[AcceptedSkip] = set()

    def complaint(self, node_id: str, message: str) -> str | None:
        """The reason why a skip is a failure; None where an entry accepts it."""
        if any(entry.covers(node_id, message) for entry in self._accepted):
            return None
        return (
            f"expected {node_id} to run, but it was skipped: {message}. Install what it lacks, or add an entry "
            "with the reason to ACCEPTED in tests/support/skips.py"
        )

    def see(self, node_id: str, skip_message: str | None) -> None:
        """Take note of a test that ran (None) or was skipped with a message."""
        for entry in self._accepted:
            if entry.concerns(node_id) and entry.applies():
                self._concerned.add(entry)
                if skip_message is not None and entry.message in skip_message:
                    self._needed.add(entry)

    def stale(self) -> list[AcceptedSkip]:
        """The entries that apply here and whose tests all ran."""
        return [entry for entry in self._accepted if entry in self._concerned - self._needed]


def skip_message(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The words of a skip."""
    longrepr = report.longrepr
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
