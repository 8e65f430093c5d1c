"""Separate processes in lock-step write the same ledgers as the embedded fleet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from apps.fleet.session import Session, in_folder
from apps.md_ingest.source import open_offline
from core.config import load_config
from tests.conftest import ROOT
from tests.support.processes import DAEMONS, Processes
from tests.support.redis_server import RedisServer


def embedded(feed: str, folder: Path) -> Session:
    config = in_folder(load_config(ROOT, environ={}), folder)
    session = Session(config, open_offline(feed, config), durable=False)
    asyncio.run(session.run())
    return session


@pytest.mark.full
def test_lock_step_processes_write_the_ledgers_of_the_embedded_fleet(tmp_path: Path) -> None:
    feed = "synthetic:5:4"
    session = embedded(feed, tmp_path / "one")
    assert session.fleet.messages > 1_000
    assert session.venue.account().fees_paid > 0
    with RedisServer() as server, Processes(server.url, tmp_path / "many") as fleet:
        for name in DAEMONS:
            fleet.start(name, "--lockstep")
        fleet.start("md_ingest", "--feed", feed, "--lockstep")
        assert fleet.exit_code("md_ingest", 150) == 0, fleet.stderr("md_ingest")
        for name in DAEMONS:
            assert fleet.exit_code(name, 20) == 0, fleet.stderr(name)
    one, many = tmp_path / "one", tmp_path / "many"
    for kind in ("ledgers", "journals"):
        expected = {path.name: path.read_bytes() for path in (one / kind).glob("*.ndjson*")}
        got = {path.name: path.read_bytes() for path in (many / kind).glob("*.ndjson*")}
        assert sorted(got) == sorted(expected)
        for name in expected:
            assert got[name] == expected[name], f"{kind}/{name} differs"
    assert (one / "ledgers" / "paper_trader.ndjson").stat().st_size > 1_000
