"""Logging set up for one test: a still clock, lines read back, the process's own set-up put back afterwards."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from core.clock import NS_PER_MS
from core.logging import LogSink, setup_json_logging

Lines = Callable[[], list[dict[str, Any]]]


class SteppingClock:
    """Starts on 2024-08-08 12:00 UTC and goes on by one millisecond and one nanosecond per question."""

    def __init__(self) -> None:
        self._now = 1_723_118_400_000_000_000

    def now_ns(self) -> int:
        self._now += NS_PER_MS + 1
        return self._now


@contextmanager
def logging_to(folder: Path, **options: Any) -> Iterator[tuple[LogSink, Lines]]:
    """Logging into ``folder``; yields the sink and what reads the lines written so far."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    root.handlers = []  # the test runner's own raise where a message cannot be formatted

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / "app.ndjson").read_text().splitlines()]

    sink = setup_json_logging(folder, clock=options.pop("clock", SteppingClock()), **options)
    try:
        yield sink, lines
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers = handlers
        root.setLevel(level)
        structlog.reset_defaults()
