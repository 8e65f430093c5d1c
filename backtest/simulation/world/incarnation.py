"""One life of a daemon: from its start to its crash. Afterwards none of its effects reaches anything any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Final

from backtest.simulation.world.disk import FaultyDisk, Machine
from backtest.simulation.world.link import SimulatedLink
from backtest.simulation.world.loop import OWNER, VirtualLoop
from backtest.simulation.world.network import Network
from backtest.simulation.world.server import SimulatedServer

_ROUNDS: Final = 1_000  # of cancelling what a dead process left; a task that outlives them is a fault of the rehearsal


class Crash(BaseException):
    """The process ended here."""


class Incarnation:
    """A process. Owns its tasks, its files and its connections, and loses all of them at once.

    Attributes:
        alive: whether it can still have effects.
        effects: how often it had one, or was about to.
        ended_by: what ended it, in words.
    """

    def __init__(
        self, daemon: str, number: int, loop: VirtualLoop, machine: Machine, server: SimulatedServer, network: Network
    ) -> None:
        self.daemon = daemon
        self.number = number
        self.alive = True
        self.effects = 0
        self.ended_by = ""
        self.fuse: int | None = None  # effects until it crashes
        self.disk = FaultyDisk(machine, self, daemon)
        self.gone = asyncio.Event()
        self.main: asyncio.Task[None] | None = None
        self._loop = loop
        self._server = server
        self._network = network
        self._links: list[SimulatedLink] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}

    @property
    def name(self) -> str:
        """The daemon and which of its lives this is."""
        return f"{self.daemon}#{self.number}"

    def link(self, timeout_s: float) -> SimulatedLink:
        """New connections to the server."""
        link = SimulatedLink(self, self._server, self._network, timeout_s=timeout_s)
        self._links.append(link)
        return link

    def cut(self) -> None:
        """Lose every connection."""
        for link in self._links:
            link.cut()

    def start(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin to live; every task that comes out of it belongs to this life."""
        context = copy_context()
        context.run(OWNER.set, self)
        self.main = self._loop.create_task(run(), context=context)
        self.main.add_done_callback(lambda _: self.end("ended"))

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self._tasks[task] = None
        task.add_done_callback(self._forget)

    def touch(self, effect: str) -> None:
        """About to have an effect. Raises Crash when this is the place, and from then on every time."""
        if not self.alive:
            raise Crash(self.ended_by)
        self.effects += 1
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.end(f"crashed at {effect}")
                raise Crash(self.ended_by)

    def end(self, how: str) -> None:
        """Be dead from now on."""
        if self.alive:
            self.alive = False
            self.ended_by = how
            self._loop.call_soon(self._bury, 0)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not self.alive and not task.cancelled():
            task.exception()  # seen: nobody of this process is there to ask

    def _bury(self, rounds: int) -> None:
        if not rounds:
            for link in self._links:
                link.abandon()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            if rounds > _ROUNDS:
                raise RuntimeError(f"{self.name} {self.ended_by}, and these tasks go on: {list(self._tasks)}")
            self._loop.call_soon(self._bury, rounds + 1)
            return
        self.disk.close_all()
        self.gone.set()
