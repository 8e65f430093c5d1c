"""The supervisor: a disk that refuses ends a service, not the daemon; who asks meanwhile gets an answer."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from core.disk import Disk, can_write
from core.errors import FatalError, JournalWriteError
from core.service.settings import ServiceSettings
from core.service.supervisor import Supervisor
from tests.support.redis_server import spare_port
from tests.support.waiting import other_tasks, patience, within


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A daemon takes the process's signals; give them back."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


class Full(Disk):
    """A disk without space for so many writes."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals

    def write(self, fd: int, data: bytes) -> int:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(fd, data)


class Scripted:
    """A service that ends as it was told."""

    was_ready = True

    def __init__(self, end: Exception | None, asked_to_stop: bool = False) -> None:
        self._end = end
        self.asked_to_stop = asked_to_stop

    async def run(self) -> None:
        if self._end is not None:
            raise self._end


def refused(path: Path) -> JournalWriteError:
    return JournalWriteError(path, OSError(errno.ENOSPC, "No space left on device"))


def supervisor(ends: list[Any], told: list[Any], disk: Disk | None = None, port: int | None = None) -> Supervisor:
    def start(trouble: JournalWriteError | None) -> Any:
        told.append(trouble)
        end = ends.pop(0)
        if isinstance(end, Scripted):
            return end
        raise end

    return Supervisor("risk_engine", start, ServiceSettings(port=port), disk=disk or Disk())


async def test_a_service_that_the_disk_refused_starts_again_and_is_told_why(tmp_path: Path) -> None:
    first = refused(tmp_path / "ledger.ndjson")
    told: list[Any] = []
    await supervisor([Scripted(first), Scripted(None)], told, Full(3)).run()
    assert told == [None, first]
    assert os.listdir(tmp_path) == ["ledger.ndjson"], "the probe leaves nothing behind"


async def test_a_ledger_that_cannot_even_be_opened_is_waited_for(tmp_path: Path) -> None:
    error = refused(tmp_path / "ledger.ndjson")
    told: list[Any] = []
    await supervisor([error, error, Scripted(None)], told).run()
    assert told == [None, error, error]


async def test_any_other_end_is_the_daemons_end(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="the chain is broken"):
        await supervisor([Scripted(FatalError("the chain is broken"))], []).run()


async def test_told_to_stop_a_daemon_does_not_start_again(tmp_path: Path) -> None:
    with pytest.raises(JournalWriteError):
        await supervisor([Scripted(refused(tmp_path / "x"), asked_to_stop=True)], []).run()


async def test_while_it_waits_for_the_disk_it_answers_what_for_and_ends_when_told(tmp_path: Path) -> None:
    port = spare_port()
    daemon = asyncio.create_task(
        supervisor([Scripted(refused(tmp_path / "x.ndjson"))], [], Full(1_000_000), port).run()
    )

    def ask(page: str) -> tuple[int, str]:
        try:
            with urlopen(f"http://127.0.0.1:{port}/{page}", timeout=patience(2)) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    async with within(20):
        answer = None
        while answer is None:
            with suppress(OSError):
                answer = await asyncio.to_thread(ask, "health")
            await other_tasks()
    status, body = answer
    assert status == 503
    assert "No space left on device" in json.loads(body)["waiting_for"]
    assert (await asyncio.to_thread(ask, "health/liveness"))[0] == 200, "a restart would not help it"
    assert 'njord_journal_trouble{daemon="risk_engine"} 1.0' in (await asyncio.to_thread(ask, "metrics"))[1]
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(JournalWriteError):
        await daemon


def test_a_folder_that_became_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("")
    assert not can_write(tmp_path / "ledger" / "x.ndjson")
    assert can_write(tmp_path / "x.ndjson")
