"""The synthetic market: the same for a seed everywhere and for ever, and plausible."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from decimal import Decimal
from itertools import islice, pairwise
from statistics import fmean, median, pstdev

import pytest

from core import codec
from core.clock import NS_PER_MINUTE
from core.contracts import BboEvent, BookEvent, TradeEvent
from core.instruments import Instrument, Instruments
from core.market.book import book_checksum
from core.market.ingest import MarketDataIngest
from core.market.synthetic import REGIMES, START_NS, SyntheticMarket

INSTRUMENTS = Instruments(
    [
        Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.00001")),
        Instrument("ATOM/USDT", Decimal("0.001"), Decimal("0.01")),
        Instrument("NEW/USDT", Decimal("0.05"), Decimal("1")),
    ]
)
SYMBOLS = tuple(INSTRUMENTS)


def events(seed: int = 42, minutes: int = 10, symbols: tuple[str, ...] = SYMBOLS) -> list[TradeEvent | BookEvent]:
    return list(SyntheticMarket(seed, INSTRUMENTS, symbols).events(minutes * NS_PER_MINUTE))


def digest(stream: list[TradeEvent | BookEvent]) -> str:
    return hashlib.sha256(b"\n".join(codec.encode(e) for e in stream)).hexdigest()


def test_a_seed_gives_these_very_bytes_for_ever() -> None:
    # When this changes on purpose, raise core.market.synthetic.GENERATION.
    assert digest(events()) == "8e069f0767ecb603bdd3c23e44041111f86e40dec02149ca7a843c6b814737d3"


def test_another_seed_gives_another_market() -> None:
    assert digest(events(1, 1)) != digest(events(2, 1))


def test_another_symbol_leaves_the_others_as_they_are() -> None:
    alone = events(symbols=("BTC/USDT",))

    assert [e for e in events() if e.symbol == "BTC/USDT"] == alone


def test_the_best_bid_and_offer_follows_each_book_and_each_trade_under_the_books_own_ids() -> None:
    market = SyntheticMarket(42, INSTRUMENTS, ("BTC/USDT",))
    stream = list(market.all_events(10 * NS_PER_MINUTE))

    best = [e for e in stream if isinstance(e, BboEvent)]
    books = {e.last_id: e for e in stream if isinstance(e, BookEvent)}
    same = [(e, books[e.update_id]) for e in best if e.update_id in books]

    assert [e for e in stream if not isinstance(e, BboEvent)] == events(symbols=("BTC/USDT",))
    assert all(((b.bid_price, b.bid_qty), (b.ask_price, b.ask_qty)) == (k.bids[0], k.asks[0]) for b, k in same)
    assert len(same) == len(books) < len(best)
    assert all(a.update_id < b.update_id for a, b in pairwise(best))


def test_it_has_no_end_of_its_own() -> None:
    endless = SyntheticMarket(7, INSTRUMENTS, ("BTC/USDT",)).events()

    assert len(list(islice(endless, 20_000))) == 20_000


def test_everything_passes_the_ingest_as_it_is() -> None:
    component = MarketDataIngest(INSTRUMENTS)
    for event in events():
        component.on_event(event)

    tally = component.tallies()
    assert tally.accepted > 1_000
    assert (tally.duplicates, tally.gaps, tally.backwards, tally.stale_books) == (0, 0, 0, 0)
    assert not tally.rejected


def test_time_goes_on_and_receipt_follows() -> None:
    stream = events()

    assert all(a.ts <= b.ts and a.ts_recv_ns <= b.ts_recv_ns for a, b in pairwise(stream))
    assert stream[0].ts >= START_NS
    assert stream[-1].ts < START_NS + 10 * NS_PER_MINUTE
    assert all(e.ts_recv_ns > e.ts for e in stream)


def test_trades_are_numbered_from_one_without_a_hole() -> None:
    numbers = [int(e.trade_id) for e in events() if isinstance(e, TradeEvent) and e.symbol == "BTC/USDT"]

    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_every_trade_is_made_at_a_level_of_the_book_and_takes_no_more_than_it_holds(symbol: str) -> None:
    book: BookEvent | None = None
    taken: dict[float, float] = {}
    for event in events(symbols=(symbol,)):
        if isinstance(event, BookEvent):
            assert event.checksum == book_checksum(event.bids, event.asks)
            book, taken = event, defaultdict(float)
            continue
        assert book is not None
        levels = dict(book.asks if event.side == "buy" else book.bids)
        taken[event.price] += event.qty
        assert taken[event.price] <= levels[event.price] * (1 + 1e-9)


@pytest.mark.full
def test_two_hours_are_worth_trading_whatever_the_seed() -> None:
    pooled: list[float] = []
    for seed in (1, 2, 3):
        trades = [e for e in events(seed, 120, ("BTC/USDT",)) if isinstance(e, TradeEvent)]
        closes = list({t.ts // NS_PER_MINUTE: t.price for t in trades}.values())
        returns = [b / a - 1 for a, b in pairwise(closes)]
        waits = [b.ts - a.ts for a, b in pairwise(trades)]
        sizes = sorted(t.qty for t in trades)

        assert 10_000 < len(trades) < 60_000
        assert 0.0003 < pstdev(returns) < 0.003
        assert max(closes) / min(closes) > 1.01, "there are moves to follow"
        assert sizes[len(sizes) * 99 // 100] > 10 * median(sizes), "some orders are large"
        assert pstdev(waits) > 2 * fmean(waits), "trades come in bursts; were they independent, this would be 1"
        assert 0.4 < fmean(t.side == "buy" for t in trades) < 0.6
        pooled.extend(r / pstdev(returns) for r in returns)

    kurtosis = fmean(r**4 for r in pooled) / fmean(r**2 for r in pooled) ** 2
    assert kurtosis > 4, "calm and wild times alternate; independent normal returns would have 3"


def test_every_regime_has_its_name() -> None:
    assert [r.name for r in REGIMES] == ["calm", "ranging", "rising", "falling", "turbulent"]
