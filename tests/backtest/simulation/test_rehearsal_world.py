"""The world of the rehearsal: its time, its server, its network and its disk fail as the real ones do."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest

from backtest.simulation.world.disk import FaultyDisk, Machine
from backtest.simulation.world.incarnation import Crash, Incarnation
from backtest.simulation.world.loop import BusyError, StalledError, VirtualLoop
from backtest.simulation.world.network import Network
from backtest.simulation.world.server import SimulatedServer
from core.bus.link import Outgoing, Stream
from core.errors import BusGapError, BusUnavailableError, FencedError
from tests.support.waiting import other_tasks

T = TypeVar("T")
STREAM = Stream("s", "fence", "ledger", 7)
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT


class Unharmed:
    """An owner that nothing happens to."""

    alive = True

    def touch(self, effect: str) -> None:
        """Go on."""


def in_virtual_time(main: Coroutine[Any, Any, T]) -> tuple[T, float]:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main), loop.time()
    finally:
        loop.close()


def entry(number: int, prev: int) -> Outgoing:
    return Outgoing("t", b"%d" % number, (number, 0), (prev, 0))


def test_an_hour_passes_at_once_and_timers_go_off_in_their_order() -> None:
    order: list[str] = []

    async def sleeps(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def main() -> None:
        await asyncio.gather(sleeps("hour", 3600), sleeps("moment", 0.001), sleeps("minute", 60))

    _, seconds = in_virtual_time(main())

    assert (order, seconds) == (["moment", "minute", "hour"], 3600)


def test_threads_are_not_used_and_what_they_raise_is_passed_on() -> None:
    async def main() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(lambda: 5)

    assert in_virtual_time(main()) == (5, 0.0)


def test_a_loop_in_which_everybody_waits_or_nobody_does_says_so() -> None:
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    async def spins() -> None:
        while True:  # what is to be found out
            await other_tasks()

    for main, error in ((waits(), StalledError), (spins(), BusyError)):
        loop = VirtualLoop()
        task = loop.create_task(main)
        with pytest.raises(error):
            loop.run_until_complete(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()


def test_a_stream_takes_what_follows_once_and_refuses_holes_and_fenced_copies() -> None:
    server = SimulatedServer()
    server.send([entry(1, 0), entry(2, 1)], STREAM)
    server.send([entry(2, 1), entry(3, 2)], STREAM)

    assert [entry.id for entry in server.stream("s")] == [(1, 0), (2, 0), (3, 0)]
    with pytest.raises(BusGapError):
        server.send([entry(5, 4)], STREAM)
    server.claim("fence", 0)
    with pytest.raises(FencedError):
        server.send([entry(4, 3)], STREAM)


def test_a_server_that_comes_back_from_an_older_state_lacks_the_rest() -> None:
    server = SimulatedServer()
    server.send([entry(1, 0)], STREAM)
    state = server.state()
    server.send([entry(2, 1)], STREAM)
    server.become(state)

    assert server.newest("s") == ((1, 0), "ledger")


@pytest.mark.parametrize(("weather", "arrived"), [("lose_answer", 1), ("lose_question", 0)])
def test_of_a_lost_command_only_the_server_knows_whether_it_took_effect(weather: str, arrived: int) -> None:
    server, network = SimulatedServer(), Network(Random(1))
    setattr(network.weather, weather, 1.0)

    async def main() -> None:
        life = Incarnation("d", 1, _running(), Machine(Random(1)), server, network)
        with pytest.raises(BusUnavailableError):
            await life.link(5.0).send([entry(1, 0)], STREAM)

    in_virtual_time(main())

    assert len(server.stream("s")) == arrived


def test_a_lost_sending_connection_is_told_once_before_anything_is_sent() -> None:
    server, network = SimulatedServer(), Network(Random(1))

    async def main() -> None:
        link = Incarnation("d", 1, _running(), Machine(Random(1)), server, network).link(5.0)
        await link.ping()
        link.cut()
        with pytest.raises(BusUnavailableError):
            await link.send([entry(1, 0)], STREAM)
        assert not server.stream("s")
        await link.send([entry(1, 0)], STREAM)

    in_virtual_time(main())

    assert len(server.stream("s")) == 1


def test_a_frozen_server_answers_nobody_and_executes_what_was_sent_once_it_goes_on() -> None:
    server, network = SimulatedServer(), Network(Random(1))

    async def main() -> None:
        link = Incarnation("d", 1, _running(), Machine(Random(1)), server, network).link(5.0)
        network.freeze()
        with pytest.raises(BusUnavailableError):
            await link.send([entry(1, 0)], STREAM)
        network.thaw()

    _, seconds = in_virtual_time(main())

    assert len(server.stream("s")) == 1
    assert seconds >= 5.0


def test_the_dead_have_no_effects_and_lose_their_tasks_and_files(tmp_path: Path) -> None:
    server, network, machine = SimulatedServer(), Network(Random(1)), Machine(Random(1))

    async def main() -> None:
        life = Incarnation("d", 1, _running(), machine, server, network)
        fd = life.disk.open(tmp_path / "f", FLAGS)
        life.fuse = 1

        async def run() -> None:
            asyncio.create_task(asyncio.sleep(1e6))  # noqa: RUF006  # it ends with its owner
            life.disk.sync(fd)
            await life.link(5.0).send([entry(1, 0)], STREAM)

        life.start(run)
        await life.gone.wait()
        for effect in (lambda: life.disk.write(fd, b"x"), lambda: life.touch("anything")):
            with pytest.raises(Crash):
                effect()
        assert life.ended_by == "crashed at send"
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)

    _, seconds = in_virtual_time(main())

    assert (seconds, len(server.stream("s"))) == (0.0, 0)


def test_a_full_disk_takes_a_part_and_then_nothing(tmp_path: Path) -> None:
    machine = Machine(Random(1), space=3)
    disk = FaultyDisk(machine, Unharmed(), "d")
    fd = disk.open(tmp_path / "f", FLAGS)

    assert disk.write(fd, b"hello") == 3
    with pytest.raises(OSError, match="No space") as full:
        disk.write(fd, b"lo")
    assert full.value.errno == errno.ENOSPC
    disk.close_all()


@pytest.mark.parametrize("seed", range(8))
def test_a_power_loss_takes_only_what_was_not_synced(tmp_path: Path, seed: int) -> None:
    machine = Machine(Random(seed))
    disk = FaultyDisk(machine, Unharmed(), "d")
    fd = disk.open(tmp_path / "f", FLAGS)
    disk.write(fd, b"safe")
    disk.sync(fd)
    disk.write(fd, b"unsafe")
    disk.close_all()

    machine.lose_power()

    kept = (tmp_path / "f").read_bytes()
    assert b"safeunsafe".startswith(kept)
    assert kept.startswith(b"safe")


def _running() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
