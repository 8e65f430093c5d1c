"""What the simulated venue answers over HTTP and its streams, asked without ccxt."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from apps.venue_sim.drive import Drive, FaultPlan
from apps.venue_sim.faults import RestRefusal
from apps.venue_sim.main import instructions, main, parse_refusals
from core.clock import SystemClock
from core.errors import ConfigError
from tests.support.ccxt_feed_harness import Venue, a_venue, eventually

SUBSCRIBE = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}


@asynccontextmanager
async def a_client() -> AsyncIterator[tuple[Venue, aiohttp.ClientSession]]:
    async with a_venue() as venue, aiohttp.ClientSession() as session:
        yield venue, session


async def answer(venue: Venue, session: aiohttp.ClientSession, query: str, **headers: str) -> tuple[int, Any]:
    async with session.get(f"{venue.server.http_url}/api/v3/{query}", headers=headers) as response:
        return response.status, await response.json()


async def test_rest_answers_with_the_venues_names() -> None:
    async with a_client() as (venue, session):
        made = venue.trade(3)

        assert await answer(venue, session, "ping") == (200, {})
        _, info = await answer(venue, session, "exchangeInfo")
        assert [s["symbol"] for s in info["symbols"]] == ["BTCUSDT"]
        _, rows = await answer(venue, session, "trades?symbol=BTCUSDT&limit=2")
        assert [r["id"] for r in rows] == [made[1].id, made[2].id]
        _, depth = await answer(venue, session, "depth?symbol=BTCUSDT&limit=5")
        assert len(depth["bids"]) == len(depth["asks"]) == 5
        _, aggregates = await answer(venue, session, "aggTrades?symbol=BTCUSDT")
        assert aggregates[-1]["l"] == made[-1].id


async def test_old_trades_need_a_key_and_a_wrong_symbol_is_minus_1121() -> None:
    async with a_client() as (venue, session):
        first = venue.trade(3)[0].id
        query = f"historicalTrades?symbol=BTCUSDT&fromId={first}"

        assert (await answer(venue, session, query))[0] == 401
        status, rows = await answer(venue, session, query, **{"X-MBX-APIKEY": "k"})
        assert (status, [r["id"] for r in rows]) == (200, [first, first + 1, first + 2])
        assert await answer(venue, session, "depth?symbol=NOPE") == (400, {"code": -1121, "msg": "Invalid symbol."})
        assert (await answer(venue, session, "trades?symbol=BTCUSDT&limit=x"))[0] == 400


async def test_refusals_are_used_up_in_order_and_only_where_they_belong() -> None:
    async with a_client() as (venue, session):
        venue.server.rest_faults.refuse(RestRefusal(503, -1000, "down", path="time"))

        assert (await answer(venue, session, "ping"))[0] == 200
        assert await answer(venue, session, "time") == (503, {"code": -1000, "msg": "down"})
        assert (await answer(venue, session, "time"))[0] == 200


async def test_a_subscription_is_answered_and_brings_what_was_asked_for_until_it_ends() -> None:
    async with a_client() as (venue, session), session.ws_connect(f"{venue.server.ws_url}/stream/ws/0") as socket:
        await socket.send_json(SUBSCRIBE)
        assert await socket.receive_json() == {"result": None, "id": 1}
        made = venue.trade()[0]
        frame = await socket.receive_json()
        assert (frame["e"], frame["s"], frame["t"]) == ("trade", "BTCUSDT", made.id)

        await socket.send_json({**SUBSCRIBE, "method": "UNSUBSCRIBE", "id": 2})
        assert await socket.receive_json() == {"result": None, "id": 2}
        venue.trade()
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@nonsense"], "id": 3})
        assert await socket.receive_json() == {"error": {"code": 2, "msg": "Invalid request: invalid stream"}, "id": 3}


async def test_a_stalled_venue_answers_pings_and_nothing_else() -> None:
    async with a_client() as (venue, session), session.ws_connect(f"{venue.server.ws_url}/stream/ws") as socket:
        await socket.send_json(SUBSCRIBE)
        await socket.receive_json()
        venue.server.stream_faults.stall()
        venue.trade(3)
        await socket.ping(b"there?")
        venue.server.stream_faults.clear()
        made = venue.trade()[0]

        assert (await socket.receive_json())["t"] == made.id
        assert venue.server.stream_faults.counters.withheld > 0


async def test_cut_sockets_end_without_a_closing_handshake() -> None:
    async with a_client() as (venue, session), session.ws_connect(f"{venue.server.ws_url}/stream/ws") as socket:
        await socket.send_json(SUBSCRIBE)
        await socket.receive_json()

        assert venue.server.cut() == 1
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


async def test_a_venue_that_is_down_refuses_and_comes_back_on_the_same_port() -> None:
    async with a_client() as (venue, session):
        port = venue.server.port
        await answer(venue, session, "ping")
        await venue.server.down()
        with pytest.raises(aiohttp.ClientConnectionError):
            await answer(venue, session, "ping")
        await venue.server.up()

        assert venue.server.port == port
        assert (await answer(venue, session, "ping"))[0] == 200


async def test_planned_faults_happen_at_their_trade_and_heal() -> None:
    async with a_venue() as venue:
        drive = Drive(venue.server, SystemClock(), FaultPlan(stall_at=2, stall_for_s=0.05, cut_at=3))
        running = asyncio.create_task(drive.seeded(venue.flow, rate=200.0))
        await eventually(lambda: venue.server.stream_faults.counters.withheld > 0)
        await eventually(lambda: not venue.server.stream_faults.stalled)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await drive.stop()

        assert drive.trades >= 2


async def test_the_instructions_name_only_loopback() -> None:
    async with a_venue() as venue:
        text = instructions(venue.server)

    hosts = set(re.findall(r"(?:https?|wss?)://([^:/\s\"']+)", text))
    assert hosts == {"127.0.0.1"}


def test_refusals_are_read_from_the_command_line() -> None:
    assert [r.status for r in parse_refusals(["429:2", "0"])] == [429, 429, 0]
    with pytest.raises(ConfigError, match="429:3"):
        parse_refusals(["often"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--drop", "2"], "fraction"), (["--mid", "x"], "--mid"), (["--symbol", "BTC"], "BASE/QUOTE")],
)
def test_a_wrong_option_is_one_sentence(
    arguments: list[str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["venue_sim", *arguments])

    assert main() != 0
    assert named in capsys.readouterr().err


def test_the_command_serves_and_stops_after_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["venue_sim", "--seconds", "0.2", "--rate", "100"])

    assert main() == 0
    assert "NJORD_EXCHANGE__URLS" in capsys.readouterr().out
