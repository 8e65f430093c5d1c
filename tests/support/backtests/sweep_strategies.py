"""Strategies for tests of sweeps: classes that other processes can import, each with a fault of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from pathlib import Path

from core.contracts import Contract, OrderCancel, OrderIntent
from strategies.context import StrategyContext
from strategies.samples.sma_cross import SmaCross

FOLDER = "NJORD_TEST_SWEEP"
"""Names the folder that the faulty ones look into and leave their marks in."""


class FailsOnFive(SmaCross):
    """Raises at the tenth bar when ``fast`` is 5."""

    strategy_id = "fails_on_five"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        self._left = 10 if context.config["fast"] == 5 else -1

    def on_event(self, event: Contract) -> Iterable[OrderIntent | OrderCancel]:
        self._left -= 1
        if self._left == 0:
            raise ZeroDivisionError("nothing to divide by")
        return super().on_event(event)


class AlwaysFails(SmaCross):
    """Cannot be built."""

    strategy_id = "always_fails"

    def __init__(self, context: StrategyContext) -> None:
        raise RuntimeError("no licence")


class KillsItsSweep(SmaCross):
    """The set 8, 20 kills the sweep, once, as soon as its checkpoint holds two chunks."""

    strategy_id = "kills_its_sweep"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        folder = Path(os.environ[FOLDER])
        mark = folder / "killed"
        if (context.config["fast"], context.config["slow"]) != (8, 20) or mark.exists():
            return
        pause = threading.Event()
        while sum(path.read_bytes().count(b"\n") for path in folder.glob("sweeps/*.ndjson")) < 3:
            pause.wait(0.01)
        mark.write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGKILL)
        pause.wait()


class NeverEnds(SmaCross):
    """The set 8, 20 says that it has begun, and is never done."""

    strategy_id = "never_ends"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        if (context.config["fast"], context.config["slow"]) == (8, 20):
            (Path(os.environ[FOLDER]) / "begun").write_text(str(os.getpid()))
            threading.Event().wait()


class EndsItsProcess(SmaCross):
    """Takes its worker down with it, as a fault in foreign machine code would."""

    strategy_id = "ends_its_process"

    def __init__(self, context: StrategyContext) -> None:
        super().__init__(context)
        os._exit(3)
