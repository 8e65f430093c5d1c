"""The ccxt client is built whole, and one that is meant for a simulator cannot reach a real venue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from apps.md_ingest import ccxt_client
from apps.md_ingest.ccxt_client import make_exchange, require_loopback
from apps.venue_sim.faults import RestRefusal
from apps.venue_sim.main import dotted
from core.errors import ConfigError
from tests.support.ccxt_feed_harness import a_feed, a_venue


def addresses(table: object) -> Iterator[str]:
    if isinstance(table, dict):
        for value in table.values():
            yield from addresses(value)
    else:
        yield str(table)


LOOPBACK: dict[str, Any] = {"public": "http://127.0.0.1:1/api/v3", "ws": {"spot": "ws://127.0.0.1:1/stream/ws"}}


async def test_a_replaced_table_leaves_no_address_beyond_loopback() -> None:
    exchange = make_exchange("binanceus", urls=LOOPBACK)

    assert set(addresses(exchange.urls)) == {"http://127.0.0.1:1/api/v3", "ws://127.0.0.1:1/stream/ws"}
    await exchange.close()


async def test_dotted_names_of_the_configuration_make_the_same_table() -> None:
    exchange = make_exchange("binanceus", urls=dotted(LOOPBACK))

    assert exchange.urls["api"] == LOOPBACK
    await exchange.close()


@pytest.mark.parametrize(
    "address",
    ["https://api.binance.us/api/v3", "http://127.0.0.1.example.com/", "http://{hostname}/api", "127.0.0.1", "", 7],
)
def test_one_address_beyond_loopback_is_refused_by_its_key(address: object) -> None:
    with pytest.raises(ConfigError, match=r"urls\.api\.ws\.spot: expected an address on loopback"):
        make_exchange("binanceus", urls={"public": "http://127.0.0.1:1/api/v3", "ws.spot": address})


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one address"):
        require_loopback({}, "urls")


def test_an_unknown_venue_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean binanceus"):
        make_exchange("binaceus")


async def test_what_ccxt_must_not_do_on_its_own_is_switched_off() -> None:
    exchange: Any = make_exchange("binanceus", urls=LOOPBACK)

    assert exchange.enableRateLimit
    assert exchange.newUpdates
    assert exchange.options["tradesLimit"] == ccxt_client.TRADES_CACHED
    assert exchange.options["maxRetriesOnFailure"] == 0
    assert exchange.client("ws://127.0.0.1:1/stream/ws/0").connectionTimeout == 10_000
    await exchange.close()


async def test_an_unknown_symbol_ends_the_feed_with_the_nearest_ones() -> None:
    async with a_venue() as venue, a_feed(venue, symbols=["BTC/USDX"]) as run:
        with pytest.raises(ConfigError, match=r"'BTC/USDX'; nearest: BTC/USDT"):
            await run.until(lambda: False)


async def test_a_venue_that_refuses_for_good_ends_the_feed_in_our_words() -> None:
    async with a_venue() as venue:
        venue.server.rest_faults.refuse(RestRefusal(401, -2015, "Invalid API-key.", path="exchangeInfo"))
        async with a_feed(venue) as run:
            with pytest.raises(ConfigError, match="binanceus refuses the list of symbols of BTC/USDT"):
                await run.until(lambda: False)


async def test_retry_after_is_kept_to() -> None:
    async with a_venue() as venue:
        venue.server.rest_faults.refuse(RestRefusal(429, retry_after_s=1, path="exchangeInfo"))
        async with a_feed(venue) as run:
            loop = asyncio.get_running_loop()
            started = loop.time()
            await run.live()

            assert loop.time() - started >= 1.0


async def test_closing_ends_the_stream_with_a_word_for_every_symbol() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        await run.feed.aclose()
        await run.feed.aclose()
        await run.until(lambda: run.states[-1] == "ended")

    assert run.states[-1] == "ended"
    assert venue.server.streams.open_sockets == 0
    assert [t for t in asyncio.all_tasks() if t.get_name().startswith("feed ")] == []


def test_the_printed_environment_is_read_as_this_table(monkeypatch: pytest.MonkeyPatch) -> None:
    from core.config import load_config
    from tests.conftest import ROOT

    environment = {"NJORD_EXCHANGE__URLS": json.dumps(dotted(LOOPBACK))}
    config = load_config(ROOT, environ=environment)

    assert dict(config.exchange.urls) == dotted(LOOPBACK)
