"""What systemd is told by a daemon, on a real notify socket."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.disk import Disk
from core.errors import JournalWriteError
from core.service.settings import ServiceSettings
from core.service.supervisor import Supervisor
from core.service.systemd import Notifier
from tests.support.processes import Processes
from tests.support.waiting import patience, wait_until

NOWHERE = "redis://127.0.0.1:1/0"


class Systemd:
    """The receiving end of ``sd_notify``: a datagram socket and what came on it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.states: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def received(self) -> list[str]:
        """Every state so far, in order."""
        while True:
            try:
                self.states += self._socket.recv(65_536).decode().splitlines()
            except BlockingIOError:
                return self.states

    def send(self, state: str) -> None:
        """A state from this process, as from another one."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(state.encode(), str(self.path))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    receiver = Systemd(tmp_path / "notify")
    yield receiver
    receiver.close()


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A daemon takes the process's signals; give them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def notifier(systemd: Systemd, watchdog_s: float | None = None) -> Notifier:
    """A line to the receiver, for a supervisor in this process."""
    return Notifier(systemd.send, watchdog_s)


@pytest.mark.parametrize("name", ["risk_engine", "md_ingest"])
def test_a_daemon_without_redis_is_ready_for_systemd_and_its_status_says_what_it_waits_for(
    name: str, systemd: Systemd, tmp_path: Path
) -> None:
    options = ["--feed", "synthetic:1:1"] if name == "md_ingest" else []
    with Processes(NOWHERE, tmp_path / "run") as processes:
        process = processes.start(name, *options, environ={"NOTIFY_SOCKET": str(systemd.path)})
        wait_until(lambda: "READY=1" in systemd.received(), what="READY=1")
        wait_until(lambda: f"STATUS=waits for Redis at {NOWHERE}" in systemd.received(), what="its status")
        assert processes.health(name)["ready"] is False
        assert "STOPPING=1" not in systemd.received()
        assert "WATCHDOG=1" in systemd.received()
        process.send_signal(signal.SIGTERM)
        assert process.wait(patience(30)) == 0
    assert systemd.received().count("READY=1") == 1
    assert systemd.received().count("STOPPING=1") == 1


def test_a_daemon_answers_for_its_health_before_systemd_takes_it_for_started(systemd: Systemd, tmp_path: Path) -> None:
    with Processes(NOWHERE, tmp_path / "run") as processes:
        processes.start("paper_trader", environ={"NOTIFY_SOCKET": str(systemd.path)})
        wait_until(lambda: "READY=1" in systemd.received(), what="READY=1")
        assert processes.health("paper_trader")["alive"] is True


class Ends:
    """A service that comes to the end it was given."""

    was_ready = True
    asked_to_stop = False

    def __init__(self, error: Exception | None) -> None:
        self._error = error

    async def run(self) -> None:
        if self._error is not None:
            raise self._error


class Refusing(Disk):
    """A disk without space until ``has_space``."""

    has_space = False

    def write(self, fd: int, data: bytes) -> int:
        if not self.has_space:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(fd, data)


def refused(folder: Path) -> JournalWriteError:
    return JournalWriteError(folder / "ledger.ndjson", OSError(errno.ENOSPC, "No space left on device"))


async def until(holds: Callable[[], bool]) -> None:
    """Let everything run until something holds."""
    await asyncio.to_thread(wait_until, holds)


async def test_while_it_waits_for_the_disk_the_watchdog_is_fed_and_a_restart_inside_is_no_end(
    systemd: Systemd, tmp_path: Path
) -> None:
    disk, services = Refusing(), [Ends(refused(tmp_path)), Ends(None)]
    line = notifier(systemd, watchdog_s=0.1)
    supervisor = Supervisor(
        "risk_engine",
        lambda _: services.pop(0),  # type: ignore[arg-type, return-value]  # all that is asked of a service
        ServiceSettings(port=None),
        disk=disk,
        notifier=line,
    )
    daemon = asyncio.create_task(supervisor.run())
    await until(lambda: systemd.received().count("WATCHDOG=1") >= 5)
    disk.has_space = True
    await daemon
    assert any(state.startswith("STATUS=waits for the disk: ") for state in systemd.received())
    assert "EXTEND_TIMEOUT_USEC=30000000" in systemd.received(), "its start may take as long as the disk does"
    assert "STOPPING=1" not in systemd.received()
    assert supervisor.starts == 2


async def test_who_is_told_to_end_while_it_waits_for_the_disk_says_so(systemd: Systemd, tmp_path: Path) -> None:
    line = notifier(systemd)
    ends = Ends(refused(tmp_path))
    supervisor = Supervisor(
        "risk_engine",
        lambda _: ends,  # type: ignore[arg-type, return-value]  # all that is asked of a service
        ServiceSettings(port=None),
        disk=Refusing(),
        notifier=line,
    )
    ends.stop = lambda: None  # type: ignore[attr-defined]
    daemon = asyncio.create_task(supervisor.run())
    await until(lambda: "WATCHDOG=1" in systemd.received())
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(JournalWriteError):
        await daemon
    assert systemd.received().count("STOPPING=1") == 1


def test_without_systemd_nothing_is_sent_anywhere() -> None:
    line = Notifier.from_environment({})
    line.ready()
    line.alive()
    line.stopping()
    assert line.watchdog_s is None
