"""Every request for missing trades ends with exactly one answer, within named limits, whatever can be had."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from apps.md_ingest.ccxt_client import make_exchange
from apps.md_ingest.ccxt_trades import TradeHistory
from apps.md_ingest.feed_state import FeedLimits
from core.clock import SystemClock
from core.market.sequence import BackfillDone, BackfillRequest
from tests.support.ccxt_feed_harness import FAST, SYMBOL, Venue, a_feed, a_venue


@asynccontextmanager
async def a_history(venue: Venue, **limits: Any) -> AsyncIterator[TradeHistory]:
    urls = venue.server.client_urls()
    exchange: Any = make_exchange("binanceus", urls=urls, api_key="k", min_request_interval_ms=1)
    exchange.timeout_on_exit = 0
    try:
        yield TradeHistory(
            exchange, venue="binanceus", clock=SystemClock(), backoff=FAST, random=Random(1).random, **limits
        )
    finally:
        await exchange.close()


def asked(first: int, last: int) -> BackfillRequest:
    return BackfillRequest(SYMBOL, "binanceus", first, last, 1)


async def test_more_pages_than_allowed_are_not_fetched_and_the_answer_says_so() -> None:
    async with a_venue() as venue, a_history(venue, max_pages=2) as history:
        first = venue.trade(2_500)[0].id

        trades, done = await history.fetch(asked(first, first + 2_499))

        assert [int(t.trade_id) for t in trades] == list(range(first, first + 2_000))
        assert "more than 2 pages" in done.reason


async def test_trades_that_rest_does_not_have_yet_are_asked_for_again_with_a_limit() -> None:
    async with a_venue() as venue, a_history(venue, max_attempts=3) as history:
        last = venue.trade(5)[-1].id

        trades, done = await history.fetch(asked(last, last + 3))

        assert [int(t.trade_id) for t in trades] == [last]
        assert "3 tries" in done.reason
        assert history.counts.pages == 4


async def test_neighbouring_holes_cost_one_page() -> None:
    async with a_venue() as venue, a_history(venue) as history:
        first = venue.trade(50)[0].id

        for hole in (first, first + 10, first + 20):
            trades, done = await history.fetch(asked(hole, hole + 1))
            assert (len(trades), done.reason) == (2, "")

        assert history.counts.pages == 1


async def test_requests_beyond_the_limit_are_answered_at_once() -> None:
    async with a_venue() as venue, a_feed(venue, limits=FeedLimits(pending_backfills=2)) as run:
        await run.live()
        venue.trade(30, silently=True)
        first = venue.last_id - 20
        for number in range(first, first + 5):
            run.feed.backfill(asked(number, number))
        await run.until(lambda: sum(isinstance(e, BackfillDone) for e in run.raw) >= 5)

        answers = sorted((e.first_id, e.reason) for e in run.raw if isinstance(e, BackfillDone))
        assert [number for number, _ in answers] == list(range(first, first + 5))
        assert sum("other requests are waiting" in reason for _, reason in answers) == 3


async def test_requests_that_a_closing_feed_leaves_are_answered() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        venue.server.rest_faults.delay_s = 60.0
        run.feed.backfill(asked(1, 2))
        await run.feed.aclose()
        run.feed.backfill(asked(3, 4))

    answers = [(e.first_id, e.reason) for e in run.raw if isinstance(e, BackfillDone)]
    assert answers[0] == (1, "the feed was closed")
