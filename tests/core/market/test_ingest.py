"""The ingest component: what passes, what is refused and why, and what the clock promises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from core.clock import NS_PER_S
from core.contracts import BboEvent, BookEvent, ClockTick, Contract, FeedGap, FeedStatus, TickerEvent, TradeEvent
from core.errors import ContractError, RejectedError, UnknownSymbolError
from core.instruments import Instrument, Instruments
from core.market.ingest import MAX_AHEAD_NS, MAX_OUTAGE_NS, MarketDataIngest
from core.market.sequence import BackfillDone, BackfillRequest

INSTRUMENTS = Instruments(
    [
        Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.00001")),
        Instrument("ETH/USDT", Decimal("0.01"), Decimal("0.0001")),
    ]
)
T0 = 1_723_161_255 * NS_PER_S


def trade(number: int | str, second: float = 0.0, symbol: str = "BTC/USDT") -> TradeEvent:
    return TradeEvent(symbol, 100.0, 1.0, "buy", T0 + int(second * NS_PER_S), str(number), "binance")


def book(last_id: int, second: float = 0.0) -> BookEvent:
    return BookEvent("BTC/USDT", ((99.0, 1.0),), ((100.0, 1.0),), 0, T0 + int(second * NS_PER_S), last_id)


def ingest(**options: object) -> MarketDataIngest:
    return MarketDataIngest(INSTRUMENTS, **options)  # type: ignore[arg-type]


def fed(component: MarketDataIngest, *events: Contract) -> list[Contract]:
    return [out for event in events for out in component.on_event(event)]


def ticks(events: list[Contract]) -> list[int]:
    return [(e.ts - T0) // NS_PER_S for e in events if isinstance(e, ClockTick)]


def test_a_tick_comes_before_the_first_event_of_each_second_and_never_twice() -> None:
    out = fed(ingest(), trade(1, 0.1), trade(2, 0.9), book(7, 1.0), trade(3, 1.5), trade(4, 4.2), trade(5, 3.9))

    assert [type(e).__name__ for e in out] == [
        "ClockTick", "TradeEvent", "TradeEvent", "ClockTick", "BookEvent", "TradeEvent", "ClockTick", "TradeEvent",
        "TradeEvent",
    ]  # fmt: skip
    assert ticks(out) == [0, 1, 4]


def test_no_tick_is_given_while_a_hole_is_open_for_the_bar_may_still_change() -> None:
    component = ingest()
    fed(component, trade(1, 0.1))

    during = fed(component, trade(3, 1.2), book(7, 2.0), trade(50, 3.0, "ETH/USDT"))
    after = fed(component, trade(2, 0.8), trade(4, 3.5))

    assert ticks(during) == []
    assert ticks(after) == [1, 3]
    assert [e.trade_id for e in after if isinstance(e, TradeEvent)] == ["2", "3", "4"]


def test_a_hole_is_asked_for_and_what_never_comes_is_a_gap() -> None:
    component = ingest()

    out = fed(component, trade(1), trade(4), BackfillDone("BTC/USDT", 2, 3, "older than the venue keeps"))

    request = next(e for e in out if isinstance(e, BackfillRequest))
    assert (request.symbol, request.venue, request.first_id, request.last_id) == ("BTC/USDT", "binance", 2, 3)
    gap = next(e for e in out if isinstance(e, FeedGap))
    assert (gap.first_id, gap.last_id, gap.reason) == (2, 3, "older than the venue keeps")
    assert out.index(gap) < out.index(trade(4))
    assert component.tallies().missing == 2


def test_an_open_hole_is_given_up_after_fifteen_seconds_of_market_time() -> None:
    component = ingest()
    fed(component, trade(1, 0.0), trade(3, 0.0))

    out = fed(component, book(7, 15.0), book(8, 16.1))

    assert [type(e).__name__ for e in out if not isinstance(e, BookEvent)] == ["FeedGap", "TradeEvent", "ClockTick"]


def test_where_nobody_can_be_asked_nothing_is_asked_and_disorder_is_mended() -> None:
    component = ingest(backfill=False)

    out = fed(component, trade(1), trade(3), trade(2), trade(5), FeedStatus("BTC/USDT", "", "ended", T0))

    assert [type(e).__name__ for e in out[1:]] == [
        "TradeEvent", "TradeEvent", "TradeEvent", "FeedGap", "TradeEvent", "FeedStatus",
    ]  # fmt: skip


def test_the_last_ids_of_an_earlier_run_make_the_pause_a_hole() -> None:
    out = fed(ingest(last_ids={"BTC/USDT": 10}), trade(13))

    assert [(e.first_id, e.last_id) for e in out if isinstance(e, BackfillRequest)] == [(11, 12)]


@pytest.mark.parametrize(
    ("event", "error", "reason", "says"),
    [
        (replace(trade(1), price=100.005), ContractError, "grid", "price in steps of 0.01, got 100.005"),
        (replace(trade(1), qty=0.000001), ContractError, "grid", "quantity in steps of 0.00001"),
        (trade(1, symbol="DOGE/USDT"), UnknownSymbolError, "unknown_symbol", "serves BTC/USDT, ETH/USDT"),
        (replace(trade(1), ts_recv_ns=T0 - MAX_AHEAD_NS - 1), ContractError, "time_ahead", "unit of the feed's"),
        (replace(book(1), bids=((99.001, 1.0),)), ContractError, "grid", "price in steps of 0.01, got 99.001"),
        (FeedGap("BTC/USDT", "", 1, 2, T0, "x"), RejectedError, "no_market_data", "got FeedGap"),
    ],
)
def test_bad_input_is_refused_with_its_reason_and_counted_and_nothing_else_is_lost(
    event: Contract, error: type[Exception], reason: str, says: str
) -> None:
    component = ingest()

    with pytest.raises(error, match=says.replace(".", r"\.")):
        component.on_event(event)

    assert component.tallies().rejected == {reason: 1}
    assert component.market_time_ns == 0
    assert fed(component, trade(1))[-1] == trade(1)


def test_numbered_trades_that_go_back_in_time_keep_their_order_and_are_counted() -> None:
    component = ingest()

    out = fed(component, trade(1, 10.0), trade(2, 4.0), trade(3, 10.0))

    assert [e.trade_id for e in out if isinstance(e, TradeEvent)] == ["1", "2", "3"]
    assert component.tallies().backwards == 1
    assert component.market_time_ns == T0 + 10 * NS_PER_S


def test_an_unnumbered_trade_that_goes_back_in_time_is_refused() -> None:
    component = ingest()
    fed(component, trade("a", 10.0))

    with pytest.raises(ContractError, match="no numbered id tells the order"):
        component.on_event(trade("b", 4.0))
    assert component.tallies().rejected == {"time_backwards": 1}


def test_a_book_that_is_not_newer_is_dropped_until_the_book_starts_anew() -> None:
    component = ingest()

    out = fed(component, book(7), book(7), book(6), FeedStatus("BTC/USDT", "", "stale", T0), book(6))

    assert [e.last_id for e in out if isinstance(e, BookEvent)] == [7, 6]
    assert component.tallies().stale_books == 2


def test_a_live_feeds_heartbeat_moves_the_clock_when_nothing_trades() -> None:
    component = ingest()

    out = fed(component, trade(1), ClockTick(T0 + NS_PER_S + 5), ClockTick(T0 + NS_PER_S + 9))

    assert ticks(out) == [0, 1]
    assert component.market_time_ns == T0 + NS_PER_S + 9


def test_tickers_pass() -> None:
    ticker = TickerEvent("BTC/USDT", 0.0, 99.0, 100.0, 0.0, T0)

    assert fed(ingest(), ticker) == [ClockTick(T0), ticker]


def test_the_clock_waits_for_a_symbol_whose_trades_were_cut_off_but_not_for_ever() -> None:
    start = 1_700_000_000 * NS_PER_S
    feed = MarketDataIngest(INSTRUMENTS, ["BTC/USDT", "ETH/USDT"])
    assert told(feed.on_event(ClockTick(start))) == [start]
    feed.on_event(FeedStatus("BTC/USDT", "v", "reconnecting", start))

    assert told(feed.on_event(ClockTick(start + MAX_OUTAGE_NS - NS_PER_S))) == []
    feed.on_event(FeedStatus("BTC/USDT", "v", "live", start))
    assert told(feed.on_event(ClockTick(start + MAX_OUTAGE_NS))) == [start + MAX_OUTAGE_NS]

    feed.on_event(FeedStatus("BTC/USDT", "v", "stale", start, channel="book"))
    assert told(feed.on_event(ClockTick(start + MAX_OUTAGE_NS + NS_PER_S))) != []
    feed.on_event(FeedStatus("BTC/USDT", "v", "stale", start))
    late = start + 3 * MAX_OUTAGE_NS
    assert told(feed.on_event(ClockTick(late))) == [late]


def told(events: Sequence[Contract]) -> list[int]:
    return [event.ts for event in events if isinstance(event, ClockTick)]


@pytest.mark.parametrize(
    ("price", "qty", "text"),
    [
        (
            100.005,
            1.0,
            "the venue's tick_size is 0.001 or finer, configured is 0.01: change instruments.BTC/USDT.tick_size",
        ),
        (
            100.0,
            1e-7,
            "the venue's lot_size is 0.0000001 or finer, configured is 0.00001: change instruments.BTC/USDT.lot_",
        ),
    ],
)
def test_a_venue_whose_steps_are_finer_than_configured_is_reported_as_that(price: float, qty: float, text: str) -> None:
    with pytest.raises(ContractError, match=re.escape(text)):
        ingest().on_event(replace(trade(1), price=price, qty=qty))
    with pytest.raises(ContractError, match=re.escape(text)):
        ingest().on_event(replace(book(1), bids=((price, qty),), asks=()))


def test_a_price_off_a_grid_that_is_no_power_of_ten_does_not_call_the_venue_finer() -> None:
    halves = MarketDataIngest(Instruments([Instrument("BTC/USDT", Decimal("0.3"), Decimal("0.1"))]))

    with pytest.raises(ContractError) as refusal:
        halves.on_event(replace(trade(1), price=100.0, qty=0.5))

    assert "finer" not in str(refusal.value)


def test_counters_have_the_same_names_from_the_start_and_count_what_was_dropped() -> None:
    component = ingest()
    names = list(component.counters())
    fed(component, trade(5), trade(5), trade(3), trade(7), BackfillDone("BTC/USDT", 6, 6, "gone"))
    with pytest.raises(ContractError):
        component.on_event(replace(trade(8), price=0.001))

    counters = component.counters()

    assert list(counters) == names
    assert {name: count for name, count in counters.items() if count} == {
        "trades": 2, "duplicates": 1, "before_first": 1, "gaps": 1, "missing": 1, "rejected": 1, "rejected_grid": 1,
    }  # fmt: skip


def test_a_channel_that_never_came_is_in_the_counts_of_each_symbol() -> None:
    component = ingest()
    fed(component, trade(1), trade(2), book(1), trade(1, symbol="ETH/USDT"))

    by_channel = component.events_by_channel()

    assert by_channel["BTC/USDT"]["trades"] == 2
    assert by_channel["BTC/USDT"]["book"] == 1
    assert by_channel["ETH/USDT"]["book"] == 0


def bbo(update_id: int, second: float = 0.0, bid: float = 99.0) -> BboEvent:
    return BboEvent("BTC/USDT", bid, 1.0, 100.0, 2.0, update_id, T0 + int(second * NS_PER_S))


def test_best_bids_and_offers_pass_in_the_order_of_their_ids_and_older_ones_are_counted() -> None:
    component = ingest()

    out = fed(component, bbo(5), book(7), bbo(5), bbo(4), bbo(6), FeedStatus("BTC/USDT", "v", "live", T0))

    assert [e.update_id for e in out if isinstance(e, BboEvent)] == [5, 6]
    assert component.counters()["stale_bbos"] == 2
    assert component.events_by_channel()["BTC/USDT"]["bbo"] == 2


def test_best_bids_and_offers_begin_anew_after_an_outage() -> None:
    out = fed(ingest(), bbo(5), FeedStatus("BTC/USDT", "v", "reconnecting", T0), bbo(1))

    assert [e.update_id for e in out if isinstance(e, BboEvent)] == [5, 1]


def test_a_best_bid_off_the_grid_is_refused_and_counted() -> None:
    component = ingest()

    with pytest.raises(ContractError, match="best bid and offer 5 of BTC/USDT: expected a price in steps"):
        component.on_event(bbo(5, bid=98.9999))

    assert component.tallies().rejected == {"grid": 1}
