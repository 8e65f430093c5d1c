"""A feed that goes silent is noticed within its limit, dialled anew and made whole."""

from __future__ import annotations

import asyncio

from apps.md_ingest.feed_state import FeedLimits
from core.contracts import FeedStatus
from tests.support.ccxt_feed_harness import DEPTH, TRADES, a_feed, a_venue

LIMIT_S = 0.3


async def test_a_stalled_venue_is_stale_within_the_limit_and_whole_again_once_it_moves() -> None:
    async with a_venue() as venue, a_feed(venue, staleness_limit_s=LIMIT_S) as run:
        await run.live()
        loop = asyncio.get_running_loop()
        stalled_at = loop.time()
        venue.server.stream_faults.stall()
        venue.trade(15)
        await run.until(lambda: "stale" in run.states)
        noticed_after = loop.time() - stalled_at
        venue.server.stream_faults.clear()

        await run.caught_up()
        await run.moving(lambda: run.states[-1] == "live")

        run.assert_no_hole()
        assert run.gaps == []
        assert run.feed.counts.stale >= 1
        assert LIMIT_S * 0.9 < noticed_after < LIMIT_S * 4


async def test_a_venue_that_stays_silent_is_not_called_live_again() -> None:
    async with a_venue() as venue, a_feed(venue, staleness_limit_s=LIMIT_S) as run:
        await run.live()
        venue.server.stream_faults.stalled_streams.update({TRADES, DEPTH})  # subscriptions are still answered
        await run.until(lambda: run.feed.counts.stale >= 2)

        assert "live" not in run.states[run.states.index("stale") :]


async def test_a_market_without_trades_is_not_stale_while_it_quotes() -> None:
    async with a_venue() as venue, a_feed(venue, staleness_limit_s=LIMIT_S) as run:
        await run.live()
        loop = asyncio.get_running_loop()
        until = loop.time() + 3 * LIMIT_S
        while loop.time() < until:
            venue.quote()
            await run.changed()

        assert run.states == ["connecting", "live"]
        assert run.feed.counts.stale == 0


async def test_a_trade_stream_that_stopped_while_the_book_moves_is_found_over_rest() -> None:
    limits = FeedLimits(quiet_check_s=0.1)
    async with a_venue() as venue, a_feed(venue, staleness_limit_s=LIMIT_S, limits=limits) as run:
        await run.live()
        venue.server.stream_faults.stalled_streams.add(TRADES)
        while "stale" not in run.states:
            venue.trade()
            await run.changed()
        venue.server.stream_faults.clear()

        await run.moving(lambda: run.states[-1] == "live" and run.covered_to >= venue.last_id)

        run.assert_no_hole()
        assert run.gaps == []
        details = [e.detail for e in run.out if isinstance(e, FeedStatus) and e.state == "stale"]
        assert details == ["the venue trades, its trade stream is silent"]


async def test_the_last_frame_before_a_quiet_spell_is_recovered_though_nothing_follows_it() -> None:
    async with a_venue() as venue, a_feed(venue, staleness_limit_s=0.1, limits=FeedLimits(quiet_check_s=0.1)) as run:
        await run.live()
        venue.server.stream_faults.lose([venue.last_id + 1])
        venue.trade()

        await run.caught_up()

        run.assert_no_hole()
        assert len(run.trades) == 2


async def test_a_reader_that_stands_still_does_not_make_the_feed_stale() -> None:
    limits = FeedLimits(queue=4)
    async with a_venue() as venue, a_feed(venue, staleness_limit_s=LIMIT_S, limits=limits) as run:
        await run.live()
        run.reading.clear()
        venue.trade(10)
        await run.blocked()
        loop = asyncio.get_running_loop()
        until = loop.time() + 2 * LIMIT_S
        while loop.time() < until:
            await run.changed()
        run.reading.set()

        await run.caught_up()

        run.assert_no_hole()
        assert run.feed.counts.stale == 0


async def test_a_book_that_stands_still_while_trades_come_is_dialled_anew() -> None:
    async with a_venue() as venue, a_feed(venue, staleness_limit_s=LIMIT_S) as run:
        await run.live()
        await run.until(lambda: bool(run.books))
        venue.server.stream_faults.stalled_streams.add(DEPTH)
        while "stale" not in run.states:
            venue.trade()
            await run.changed()
        stood_at = venue.market.last_update_id
        venue.server.stream_faults.clear()

        await run.moving(lambda: run.books[-1].last_id > stood_at and run.states[-1] == "live")

        run.assert_no_hole()
        details = [e.detail for e in run.out if isinstance(e, FeedStatus) and e.state == "stale"]
        assert details == ["trades come, the order book stands still"]
