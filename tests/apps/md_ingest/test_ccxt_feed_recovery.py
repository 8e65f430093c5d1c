"""The live feed loses nothing that the venue still knows, whatever happens to its sockets.

Every test runs the real ccxt.pro client against the simulated venue on loopback, and the ingest behind it.
"""

from __future__ import annotations

from typing import Any

import pytest

from apps.md_ingest.feed_state import FeedLimits
from apps.venue_sim.faults import RestRefusal
from core.contracts import BboEvent, Contract
from core.market.book import book_checksum
from tests.support.ccxt_feed_harness import DEPTH, TRADES, a_feed, a_venue


async def test_trades_and_books_of_a_healthy_venue_come_through_unchanged() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        venue.trade(50)
        await run.caught_up()
        await run.until(lambda: bool(run.books) and run.books[-1].last_id == venue.market.last_update_id)

        run.assert_no_hole()
        assert run.gaps == []
        book = run.books[-1]
        truth = venue.market.snapshot(20)
        assert book.bids == tuple((float(p), float(q)) for p, q in truth.bids)
        assert book.asks == tuple((float(p), float(q)) for p, q in truth.asks)
        assert book.checksum == book_checksum(book.bids, book.asks)


async def test_the_first_connection_starts_at_the_first_live_trade() -> None:
    async with a_venue() as venue:
        venue.trade(20)
        async with a_feed(venue) as run:
            await run.live()

            assert [int(t.trade_id) for t in run.trades] == [venue.last_id]
            assert run.gaps == []


async def test_a_restart_that_knows_its_last_trade_misses_nothing_since() -> None:
    async with a_venue() as venue:
        first = venue.trade(20)[4]
        async with a_feed(venue, resume_from={"BTC/USDT": first.id}) as run:
            await run.until(lambda: run.covered_to >= venue.last_id)

            assert int(run.trades[0].trade_id) == first.id + 1
            run.assert_no_hole()


async def test_a_socket_cut_while_it_is_awaited_leaves_no_hole() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        venue.server.cut()
        venue.trade(30)  # nobody is connected
        await run.until(lambda: run.feed.counts.reconnects >= 2)
        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []
        assert "reconnecting" in run.states
        await run.until(lambda: run.states[-1] == "live")


async def test_a_cut_at_the_quiet_end_is_found_without_a_newer_trade() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        venue.server.cut(TRADES)
        venue.trade(5)  # the last ones: no newer trade will ever show the jump

        await run.caught_up()

        run.assert_no_hole()
        assert len(run.trades) == 6


async def test_a_socket_cut_while_nothing_is_awaited_leaves_no_hole() -> None:
    """ccxt reconnects without a word then, and the trades in between are in no cache."""
    async with a_venue() as venue, a_feed(venue, limits=FeedLimits(queue=4)) as run:
        await run.live()
        run.reading.clear()  # the reader stands still, the queue fills, the trade task waits
        venue.trade(20)
        await run.blocked()
        venue.server.cut()
        venue.trade(40)
        run.reading.set()

        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []
        assert run.feed.counts.reconnects >= 1


async def test_trades_that_came_while_the_reader_stood_still_need_no_newer_trade_to_arrive() -> None:
    async with a_venue() as venue, a_feed(venue, limits=FeedLimits(queue=4)) as run:
        await run.live()
        run.reading.clear()
        venue.trade(10)
        await run.blocked()
        venue.trade(300)
        await run.cached(venue.last_id)
        run.reading.set()

        await run.caught_up()

        run.assert_no_hole()
        assert run.feed.counts.reconnects == 0
        assert run.feed.history.counts.pages == 0, "nothing was lost, so nothing had to be fetched"


async def test_lost_frames_are_fetched_by_their_ids() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        last = venue.last_id
        venue.server.stream_faults.lose([last + 3, last + 4, last + 10])
        venue.trade(20)

        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []
        assert run.feed.counts.backfilled == 3


async def test_a_venue_that_loses_every_tenth_frame_costs_no_trade() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        venue.server.stream_faults.drop = 0.1
        for _ in range(20):
            venue.trade(20)
        venue.server.stream_faults.clear()
        venue.trade()

        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []
        assert venue.server.stream_faults.counters.dropped > 0


async def test_repeated_and_disordered_frames_leave_once_and_in_order() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        venue.server.stream_faults.duplicate = 0.3
        venue.server.stream_faults.reorder = 0.3
        venue.trade(100)
        venue.server.stream_faults.clear()
        venue.trade(2)

        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []
        assert run.ingest.tallies().duplicates > 0


async def test_a_venue_that_is_down_is_dialled_until_it_is_back_and_nothing_is_missing() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        await venue.server.down()
        venue.trade(25)
        await run.until(lambda: run.feed.counts.failures >= 4)
        await venue.server.up()

        await run.caught_up()
        await run.until(lambda: run.states[-1] == "live")

        run.assert_no_hole()
        assert run.gaps == []


async def test_a_venue_that_is_down_at_the_start_is_waited_for() -> None:
    async with a_venue() as venue:
        await venue.server.down()
        async with a_feed(venue) as run:
            await run.until(lambda: run.feed.counts.failures >= 2)
            await venue.server.up()
            await run.live()

            assert run.states[:2] == ["connecting", "reconnecting"]


@pytest.mark.parametrize("api_key", ["a-key", ""])
async def test_a_hole_within_the_latest_thousand_is_filled_with_and_without_an_api_key(api_key: str) -> None:
    async with a_venue() as venue, a_feed(venue, api_key=api_key) as run:
        await run.live()
        venue.server.stream_faults.lose(range(venue.last_id + 1, venue.last_id + 101))
        venue.trade(110)

        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []


async def test_a_hole_of_several_pages_is_filled_with_an_api_key() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        venue.trade(3_500, silently=True)
        venue.trade()

        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []
        assert venue.server.rest.requests["historicalTrades"] >= 4
        assert "aggTrades" not in venue.server.rest.requests


async def test_without_an_api_key_what_is_older_than_the_latest_thousand_is_one_gap() -> None:
    async with a_venue() as venue, a_feed(venue, api_key="") as run:
        await run.live()
        before = venue.last_id
        venue.trade(1_499, silently=True)
        venue.trade()

        await run.caught_up()

        run.assert_no_hole()
        assert [(g.first_id, g.last_id) for g in run.gaps] == [(before + 1, venue.last_id - 1_000)]
        assert "API key" in run.gaps[0].reason
        assert "historicalTrades" not in venue.server.rest.requests


async def test_a_refused_api_key_falls_back_to_the_latest_trades() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        refusal = RestRefusal(401, -2015, "Invalid API-key, IP, or permissions for action.", path="historicalTrades")
        venue.server.rest_faults.refuse(refusal, times=10)
        venue.trade(50, silently=True)
        venue.trade()

        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []
        assert not run.feed.history.by_id


async def test_each_run_that_the_venue_has_forgotten_becomes_exactly_one_gap() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        start = venue.last_id
        venue.server.rest_faults.history = 20
        venue.server.stream_faults.lose([*range(start + 11, start + 41), *range(start + 61, start + 91)])
        venue.trade(200)

        await run.caught_up()

        run.assert_no_hole()
        assert [(g.first_id, g.last_id) for g in run.gaps] == [(start + 11, start + 40), (start + 61, start + 90)]
        assert run.ingest.tallies().missing == 60
        assert "history starts" in run.gaps[0].reason


async def test_a_hole_that_the_venue_half_remembers_is_half_filled() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        start = venue.last_id
        venue.server.rest_faults.history = 30
        venue.server.cut(TRADES)
        venue.trade(100)

        await run.caught_up()

        run.assert_no_hole()
        assert [(g.first_id, g.last_id) for g in run.gaps] == [(start + 1, start + 70)]


@pytest.mark.parametrize(
    "refusal",
    [
        RestRefusal(503, -1000, "Service unavailable.", path="historicalTrades"),
        RestRefusal(429, retry_after_s=0, path="historicalTrades"),
        RestRefusal(0, path="historicalTrades"),
    ],
    ids=["503", "429", "timeout"],
)
async def test_refused_requests_for_missing_trades_are_tried_again(refusal: RestRefusal) -> None:
    async with a_venue() as venue, a_feed(venue, request_timeout_s=0.2) as run:
        await run.live()
        venue.server.rest_faults.refuse(refusal, times=2)
        venue.server.stream_faults.lose([venue.last_id + 1])
        venue.trade(2)

        await run.caught_up()

        run.assert_no_hole()
        assert run.gaps == []
        assert run.feed.history.counts.failures == 2


async def test_missing_trades_that_rest_never_answers_for_become_a_gap_that_says_so() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        venue.server.rest_faults.refuse(RestRefusal(503, -1000, "Service unavailable."), times=1_000)
        venue.server.stream_faults.lose([venue.last_id + 1])
        venue.trade(2)

        await run.caught_up()

        run.assert_no_hole()
        assert len(run.gaps) == 1
        assert "Service unavailable" in run.gaps[0].reason


async def test_a_book_whose_updates_jump_is_taken_anew() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        await run.until(lambda: bool(run.books))
        venue.server.stream_faults.stalled_streams.add(DEPTH)
        venue.trade(5)
        venue.server.stream_faults.clear()
        venue.trade(5)
        await run.until(lambda: run.feed.counts.checksum_errors > 0)
        jumped_at = venue.market.last_update_id
        await run.moving(lambda: run.books[-1].last_id > jumped_at)
        await run.until(lambda: run.books[-1].last_id == venue.market.last_update_id)

        truth = venue.market.snapshot(20)
        assert run.books[-1].bids == tuple((float(p), float(q)) for p, q in truth.bids)
        run.assert_no_hole()
        assert run.feed.counts.failures == 0


async def test_a_socket_that_is_closed_between_dialling_and_subscribing_is_dialled_again() -> None:
    async with a_venue() as venue:
        venue.server.stream_faults.closed_dials = 3
        async with a_feed(venue) as run:
            await run.live()

            assert run.failure is None
            assert venue.server.stream_faults.closed_dials == 0
            assert run.feed.counters()["failures"] >= 1


async def test_a_builtin_connection_error_of_any_call_is_a_failure_of_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        client = run.feed.exchange
        refusals: list[str] = []
        for name in ("load_markets", "watch_trades", "watch_order_book"):
            call = getattr(client, name)

            async def refused_once(*args: Any, name: str = name, call: Any = call, **options: Any) -> Any:
                if name not in refusals:
                    refusals.append(name)
                    raise ConnectionError("Cannot Send Message: Connection closed before send")
                return await call(*args, **options)

            monkeypatch.setattr(client, name, refused_once)

        await run.live()

        assert sorted(refusals) == ["load_markets", "watch_order_book", "watch_trades"]
        assert run.failure is None


def latest(events: list[Contract]) -> BboEvent:
    return [event for event in events if isinstance(event, BboEvent)][-1]


async def test_best_bids_and_offers_are_the_venues_own() -> None:
    async with a_venue() as venue, a_feed(venue) as run:
        await run.live()
        await run.moving(lambda: any(isinstance(e, BboEvent) for e in run.out))
        venue.trade(20)
        await run.until(lambda: latest(run.out).update_id == venue.market.last_update_id)

        last = latest(run.out)
        book = venue.market.snapshot(1)
        assert [(last.bid_price, last.bid_qty)] == [(float(p), float(q)) for p, q in book.bids]
        assert [(last.ask_price, last.ask_qty)] == [(float(p), float(q)) for p, q in book.asks]


async def test_a_stream_of_best_prices_that_fails_leaves_the_symbol_live(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_venue() as venue, a_feed(venue) as run:

        async def refused(symbols: list[str]) -> dict[str, dict[str, Any]]:
            raise ConnectionError("closed")

        monkeypatch.setattr(run.feed.exchange, "watch_bids_asks", refused)
        await run.live()
        await run.until(lambda: run.feed.counters()["bbo_failures"] >= 2)

        assert run.states[-1] == "live"
        assert run.failure is None
