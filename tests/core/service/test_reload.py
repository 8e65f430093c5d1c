"""Reloads on ``controller.reload``: obeyed by the service that is named, answered with the hash of what is in force."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from core.bus import RedisBus
from core.config import load_config
from core.config.record import config_hash
from core.errors import ConfigError
from core.service.reload import ACKS, REQUESTS, Reloader, Reloading
from tests.conftest import ROOT
from tests.support.processes import Processes
from tests.support.waiting import interval, wait_until, within

BETWEEN_REQUESTS_S = 0.05

MALFORMED: list[dict[str, Any]] = [
    {},
    {"service": ""},
    {"service": 7},
    {"service": None},
    {"service": ["risk_engine"]},
    {"service": "risk_engine", "request_id": 5},
    {"now": True},
]


class Configuration:
    """What a daemon has in force: a number that each reload raises, or an error."""

    def __init__(self, error: str = "") -> None:
        self.number = 1
        self.error = error

    def apply(self) -> None:
        if self.error:
            raise ConfigError(self.error)
        self.number += 1


def reloader(configuration: Configuration) -> Reloader:
    reloading = Reloading(lambda: f"hash-{configuration.number}", configuration.apply)
    return Reloader("risk_engine", RedisBus("redis://127.0.0.1:1/0"), reloading)


def test_a_request_for_another_service_reloads_nothing_and_counts_as_nothing() -> None:
    configuration = Configuration()
    tried = reloader(configuration)
    tried.take({"service": "paper_trader"})
    assert configuration.number == 1
    assert (tried.reloaded, tried.refused, tried.malformed) == (0, 0, 0)


@pytest.mark.parametrize("request_", MALFORMED)
def test_a_malformed_request_is_logged_and_counted_and_reloads_nothing(
    request_: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    configuration = Configuration()
    tried = reloader(configuration)
    tried.take(request_)
    assert configuration.number == 1
    assert (tried.reloaded, tried.refused, tried.malformed) == (0, 0, 1)
    assert 'controller.reload: expected {"service": NAME}' in caplog.text


def test_a_refused_reload_keeps_the_hash_of_what_stays_in_force() -> None:
    tried = reloader(Configuration("risk.per_order_usd_cap: expected a number greater than 0, got -1"))
    tried.take({"service": "risk_engine"})
    assert (tried.reloaded, tried.refused) == (0, 1)
    assert tried.config_hash == "hash-1"


async def acks_of(bus: RedisBus, count: int, requests: list[dict[str, Any]], ready: str) -> list[dict[str, Any]]:
    """The answers to requests, the first ``count`` of them that are not for ``ready``.

    A Pub/Sub subscription has no sign of its begin: a request is repeated until its answer shows that it is there.
    """
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def listen() -> None:
        async for ack in bus.follow(ACKS):
            answers.put_nowait(ack)

    listening = asyncio.create_task(listen())
    async with within(60):
        while answers.empty():
            await bus.publish_json(REQUESTS, {"service": ready, "request_id": "ready?"})
            await interval(BETWEEN_REQUESTS_S)
        for request in requests:
            await bus.publish_json(REQUESTS, request)
        acks: list[dict[str, Any]] = []
        while len(acks) < count:
            ack = await answers.get()
            if ack["request_id"] != "ready?":
                acks.append(ack)
    listening.cancel()
    return acks


async def test_what_is_no_json_object_is_logged_and_reloads_nothing(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    from redis.asyncio import Redis

    client, bus, configuration = Redis.from_url(redis_url), RedisBus(redis_url), Configuration()
    tried = Reloader("risk_engine", bus, Reloading(str, configuration.apply))
    following = asyncio.create_task(tried.follow())
    async with within(60):
        while not tried.reloaded:  # a subscription has no sign of its begin
            await bus.publish_json(REQUESTS, {"service": "risk_engine"})
            await interval(0.01)
        await client.publish(REQUESTS, "[1]")
        while "unreadable message on controller.reload: expected a JSON object, got [1]" not in caplog.text:
            await interval(0.01)
    following.cancel()
    await client.aclose()
    await bus.close()
    assert configuration.number == 1 + tried.reloaded


async def test_each_service_obeys_its_own_request_and_answers_with_the_hash_that_its_health_shows(
    redis_url: str, tmp_path: Path
) -> None:
    installation = tmp_path / "installation"
    (installation / "config").mkdir(parents=True)
    for path in (ROOT / "config").iterdir():
        (installation / "config" / path.name).write_bytes(path.read_bytes())
    base = installation / "config" / "base.yaml"
    bus = RedisBus(redis_url)
    with Processes(redis_url, tmp_path / "run", installation) as fleet:
        await asyncio.to_thread(fleet.start_ready, "risk_engine", "paper_trader", "strategy_runner")
        first = {name: fleet.health(name)["config_hash"] for name in fleet.running}
        base.write_text(base.read_text().replace("per_order_usd_cap: 5_000", "per_order_usd_cap: 500"))
        requests: list[dict[str, Any]] = [
            {"service": "risk_engine", "request_id": "a"},
            {"nonsense": 1},
            {"service": "paper_trader", "request_id": "b"},
        ]
        acks = {ack["request_id"]: ack for ack in await acks_of(bus, 2, requests, "paper_trader")}
        now = {name: fleet.health(name)["config_hash"] for name in fleet.running}
        wait_until(lambda: fleet.health("strategy_runner")["reloads"]["malformed"] == 1, what="it is counted")
        reloads = fleet.health("strategy_runner")["reloads"]
    await bus.close()
    assert acks["a"] == {
        "service": "risk_engine", "ok": True, "config_hash": now["risk_engine"], "error": "", "request_id": "a",
    }  # fmt: skip
    assert acks["b"]["ok"] is False
    assert "takes a restart" in acks["b"]["error"]
    assert len(set(first.values())) == 1
    assert now["risk_engine"] != first["risk_engine"]
    assert (now["paper_trader"], now["strategy_runner"]) == (first["paper_trader"], first["strategy_runner"])
    assert reloads == {"done": 0, "refused": 0, "malformed": 1}
    records = {path.name for path in fleet.journals.glob("config.*.json")}
    assert f"config.{now['risk_engine']}.json" in records


def test_the_hash_names_the_record_beside_the_journals(tmp_path: Path) -> None:
    from core.config.record import record_config

    config = load_config(ROOT, environ={"NJORD_APP__LOG_DIR": str(tmp_path)})
    path = record_config(config, 1_700_000_000_000_000_000)
    assert path is not None
    assert path.name == f"config.{config_hash(config)}.json"
    assert json.loads(path.read_text())["config"] == json.loads(json.dumps(config.shown()))
