"""The order book: rebuilt by the venue's rules, never crossed, and honest about what it does not know."""

from __future__ import annotations

from struct import pack
from unittest.mock import patch
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts import BookEvent, Contract, FeedStatus
from core.market import book as book_module
from core.market.binance import DepthDiff, DepthSnapshot
from core.market.book import (
    MAX_BUFFERED,
    SNAPSHOT_PATIENCE,
    BookBuilder,
    OrderBook,
    book_checksum,
)

Levels = list[tuple[float, float]]


def diff(first: int, last: int, bids: Levels | None = None, asks: Levels | None = None) -> DepthDiff:
    return DepthDiff("BTC/USDT", first, last, bids or [], asks or [], 1000 + last)


def snapshot(last: int, bids: Levels | None = None, asks: Levels | None = None) -> DepthSnapshot:
    return DepthSnapshot("BTC/USDT", last, bids or [(99.0, 1.0)], asks or [(101.0, 1.0)])


def live() -> BookBuilder:
    builder = BookBuilder("BTC/USDT")
    builder.on_snapshot(snapshot(10), 1)
    return builder


def ids(events: object) -> list[int]:
    return [e.last_id for e in events if isinstance(e, BookEvent)]  # type: ignore[attr-defined]


def test_updates_before_the_snapshot_are_kept_and_those_it_knows_are_dropped() -> None:
    builder = BookBuilder("BTC/USDT")
    assert builder.needs_snapshot
    for update in (diff(5, 8, [(98.0, 9.0)]), diff(9, 11, [(99.0, 2.0)]), diff(12, 12, [], [(100.5, 3.0)])):
        assert builder.on_diff(update) == ()

    (event,) = builder.on_snapshot(snapshot(10), 1)

    assert isinstance(event, BookEvent)
    assert event.bids == ((99.0, 2.0),)
    assert event.asks == ((100.5, 3.0), (101.0, 1.0))
    assert (event.last_id, event.ts) == (12, 1012)
    assert builder.counters.outdated == 1


@pytest.mark.parametrize(
    ("story", "update", "shown", "state"),
    [
        ("the id after the snapshot's follows", diff(11, 13), [13], "live"),
        ("the first may reach back before the snapshot", diff(7, 13), [13], "live"),
        ("one that the snapshot knows is dropped", diff(7, 10), [], "live"),
        ("one id too far is a break", diff(12, 13), [], "broken"),
    ],
)
def test_the_first_update_joins_the_snapshot(story: str, update: DepthDiff, shown: list[int], state: str) -> None:
    builder = live()

    assert ids(builder.on_diff(update)) == shown, story
    assert builder.state == state, story


def test_a_break_is_reported_once_and_the_next_snapshot_that_fits_mends_it() -> None:
    builder = live()

    broken = builder.on_diff(diff(20, 21, [(99.5, 1.0)]))
    silent = builder.on_diff(diff(22, 23))
    too_old = builder.on_snapshot(snapshot(15), 2)
    mended = builder.on_snapshot(snapshot(21, [(99.0, 7.0)]), 3)

    assert isinstance(broken[0], FeedStatus)
    assert broken[0].state == "stale"
    assert "order book: update ids jump from 10 to 20" in broken[0].detail
    assert silent == ()
    assert too_old == ()
    assert isinstance(mended[0], FeedStatus)
    assert mended[0].state == "live"
    assert isinstance(mended[1], BookEvent)
    assert (mended[1].bids, mended[1].last_id) == (((99.0, 7.0),), 23)
    assert (builder.counters.breaks, builder.counters.useless_snapshots) == (1, 1)


def test_a_break_among_the_kept_updates_needs_another_snapshot() -> None:
    builder = BookBuilder("BTC/USDT")
    builder.on_diff(diff(11, 12))
    builder.on_diff(diff(15, 16))

    (status,) = builder.on_snapshot(snapshot(10), 1)
    again = builder.on_snapshot(snapshot(15), 2)

    assert isinstance(status, FeedStatus)
    assert status.state == "stale"
    assert ids(again) == [16]


def test_a_crossed_book_is_never_shown() -> None:
    builder = live()

    (status,) = builder.on_diff(diff(11, 11, [(102.0, 1.0)]))

    assert isinstance(status, FeedStatus)
    assert "crossed at update 11: bid 102.0, ask 101.0" in status.detail
    assert builder.needs_snapshot


def test_a_crossed_snapshot_is_refused() -> None:
    (status,) = BookBuilder("BTC/USDT").on_snapshot(snapshot(1, [(101.0, 1.0)]), 5)

    assert isinstance(status, FeedStatus)
    assert "the snapshot is crossed" in status.detail


def test_a_snapshot_older_than_a_live_book_changes_nothing() -> None:
    builder = live()
    builder.on_diff(diff(11, 13))

    assert builder.on_snapshot(snapshot(12), 9) == ()
    assert builder.book.last_id == 13


def test_without_a_snapshot_the_book_is_reported_unavailable_once() -> None:
    builder = BookBuilder("BTC/USDT")

    answers = [e for n in range(3 * SNAPSHOT_PATIENCE) for e in builder.on_diff(diff(n, n))]

    (status,) = answers
    assert isinstance(status, FeedStatus)
    assert status.state == "stale"
    assert "no snapshot that fits" in status.detail
    assert builder.on_end(9) == ()


def test_a_short_feed_without_a_snapshot_says_so_at_its_end() -> None:
    builder = BookBuilder("BTC/USDT")
    builder.on_diff(diff(1, 1))

    (status,) = builder.on_end(9)

    assert isinstance(status, FeedStatus)
    assert "order book unavailable" in status.detail


def test_the_updates_that_wait_are_bounded_and_the_loss_is_counted() -> None:
    builder = BookBuilder("BTC/USDT")
    for number in range(MAX_BUFFERED + 5):
        builder.on_diff(diff(number, number))

    assert builder.counters.buffer_overflows == 5
    assert ids(builder.on_snapshot(snapshot(3), 1)) == []
    assert ids(builder.on_snapshot(snapshot(100), 1)) == [MAX_BUFFERED + 4]


def test_only_the_top_levels_are_shown_best_first() -> None:
    builder = BookBuilder("BTC/USDT", depth=2)

    (event,) = builder.on_snapshot(
        snapshot(1, [(97.0, 1.0), (99.0, 2.0), (98.0, 3.0)], [(103.0, 1.0), (101.0, 2.0), (102.0, 3.0)]), 1
    )

    assert isinstance(event, BookEvent)
    assert event.bids == ((99.0, 2.0), (98.0, 3.0))
    assert event.asks == ((101.0, 2.0), (102.0, 3.0))
    assert event.checksum == book_checksum(event.bids, event.asks)


def test_the_checksum_tells_sides_order_price_and_quantity_apart() -> None:
    bid, ask = (99.0, 1.0), (101.0, 1.0)

    assert book_checksum([bid], [ask]) == crc32(pack("<II4d", 1, 1, 99.0, 1.0, 101.0, 1.0)) == 414423922
    others = {
        book_checksum([bid], [ask]),
        book_checksum([ask], [bid]),
        book_checksum([bid, ask], []),
        book_checksum([], [bid, ask]),
        book_checksum([(99.0, 2.0)], [ask]),
        book_checksum([(98.0, 1.0)], [ask]),
    }
    assert len(others) == 6


levels = st.lists(st.tuples(st.integers(1, 400), st.integers(0, 3)), max_size=60)


@settings(max_examples=200, deadline=None)
@given(
    start=levels,
    changes=st.lists(levels, max_size=12),
    count=st.integers(1, 30),
    look=st.booleans(),
    near=st.integers(1, 9),
)
def test_the_book_is_what_sorting_all_levels_gives(
    start: list[tuple[int, int]], changes: list[list[tuple[int, int]]], count: int, look: bool, near: int
) -> None:
    def floats(raw: list[tuple[int, int]]) -> Levels:
        return [(price / 100, float(qty)) for price, qty in raw]

    first = floats(list(dict(start).items()))
    plain = {price: qty for price, qty in first if qty}
    with patch.object(book_module, "_NEAR", near):
        book = OrderBook(first, first)
        for number, change in enumerate(changes):
            book.apply(floats(change), floats(change), number)
            plain.update(floats(change))
            plain = {price: qty for price, qty in plain.items() if qty}
            if look:
                assert book.best_ask == min(plain, default=None)
        bids, asks = book.top(count)

        assert list(asks) == sorted(plain.items())[:count]
        assert list(bids) == sorted(plain.items(), reverse=True)[:count]
        assert book.best_bid == max(plain, default=None)
        assert len(book) == 2 * len(plain)


def test_a_book_with_far_more_levels_than_are_kept_in_order_finds_its_next_best() -> None:
    many = [(float(price), 1.0) for price in range(1, 1001)]
    book = OrderBook(many, [])

    book.apply([(float(price), 0.0) for price in range(400, 1001)], [], 2)
    book.apply([(500.5, 1.0)], [], 3)

    assert book.best_bid == 500.5
    assert book.top(3)[0] == ((500.5, 1.0), (399.0, 1.0), (398.0, 1.0))
    assert book.qty_at("bids", 399.0) == 1.0


def test_both_kinds_of_answers_are_contracts() -> None:
    assert all(isinstance(e, Contract) for e in live().on_diff(diff(11, 12)))
