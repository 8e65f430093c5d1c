"""Daemons that lost one server come back at different moments: every delay is drawn from the daemon's own generator."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from core.bus import Bus, Subscription
from core.bus.redis import RECONNECT
from core.config import load_config
from core.daemons import daemon_named
from core.errors import JournalWriteError
from core.retry import Draw
from core.service import launch, relay, supervisor
from core.service.daemon import Service
from core.service.settings import ServiceSettings
from core.service.spec import load_spec
from core.service.supervisor import START_AGAIN, Supervisor
from tests.conftest import ROOT
from tests.support.relay_bench import Producer
from tests.support.waiting import patience

NOBODY = "redis://127.0.0.1:1/0"
TRIES = 6


def half() -> float:
    return 0.5


def ceilings(count: int) -> list[float]:
    """The longest delays of the policy for a lost server."""
    return [RECONNECT.ceiling_s(failures) for failures in range(1, count + 1)]


@pytest.fixture
def delays(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays that a relay or a supervisor waits for; none of them passes."""
    waited: list[float] = []

    async def note(event: asyncio.Event, timeout_s: float) -> bool:
        waited.append(timeout_s)
        if len(waited) % TRIES == 0:
            event.set()
        return event.is_set()

    monkeypatch.setattr(relay, "wait_up_to", note)
    monkeypatch.setattr(supervisor, "wait_up_to", note)
    return waited


async def test_a_relay_waits_for_a_drawn_part_of_delays_that_double_up_to_their_cap(
    tmp_path: Path, delays: list[float]
) -> None:
    producer = Producer(tmp_path, url=NOBODY, draw=half)

    await producer.relay.connect()

    assert delays == [delay / 2 for delay in ceilings(TRIES)]
    producer.close()


async def test_two_daemons_with_generators_of_their_own_wait_differently(tmp_path: Path, delays: list[float]) -> None:
    for seed in (1, 2):
        producer = Producer(tmp_path / str(seed), url=NOBODY, draw=Random(seed).random)
        await producer.relay.connect()
        producer.close()

    assert not set(delays[:TRIES]) & set(delays[TRIES:])


async def test_the_readers_of_a_bus_draw_their_delays_too(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    passes = asyncio.sleep

    async def note(delay_s: float) -> None:
        if delay_s:
            waited.append(delay_s)
        await passes(0)

    monkeypatch.setattr("core.bus.redis.asyncio.sleep", note)
    bus = Bus(NOBODY, draw=half)
    stream = bus.consume(Subscription((), {"strategy_runner": (0, 0)}))
    reading = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(patience(10)):
        while len(waited) < TRIES:
            await passes(0)
    bus.end_subscriptions()
    with pytest.raises(StopAsyncIteration):
        await reading
    await bus.close()

    assert waited[:TRIES] == [delay / 2 for delay in ceilings(TRIES)]


async def test_a_supervisor_draws_the_delays_between_two_looks_at_the_disk(tmp_path: Path, delays: list[float]) -> None:
    folder = tmp_path / "ledger"
    folder.touch()  # a file in the place of the folder: nothing can be written there

    def refused(_: JournalWriteError | None) -> Service:
        raise JournalWriteError(folder / "risk_engine.ndjson", OSError(20, "not a folder"))

    with pytest.raises(JournalWriteError):
        await Supervisor("risk_engine", refused, ServiceSettings(port=None), draw=half).run()

    assert delays == [START_AGAIN.ceiling_s(failures) / 2 for failures in range(1, TRIES + 1)]


def test_a_daemon_that_is_launched_has_a_generator_that_no_other_has(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    draws: list[Draw] = []

    class Noted:
        """A supervisor that only keeps what it is given."""

        def __init__(self, *_: object, draw: Draw, **__: object) -> None:
            draws.append(draw)

        async def run(self) -> None:
            """End at once."""

    monkeypatch.setattr(supervisor, "Supervisor", Noted)
    config = load_config(ROOT, environ={})
    spec = load_spec(daemon_named("risk_engine"))
    for _ in range(2):
        asyncio.run(launch._serve(spec, config, lambda: config, ServiceSettings(port=None)))

    assert draws[0]() != draws[1]()
