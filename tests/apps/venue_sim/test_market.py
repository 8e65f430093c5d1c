"""The simulated market obeys the venue's rules: ids without holes, a book that its diffs rebuild, the same seed."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.venue_sim.drive import Drive
from apps.venue_sim.faults import StreamFaults
from apps.venue_sim.flow import CaptureFlow, SeededFlow
from apps.venue_sim.market import DepthDiff, DepthSnapshot, VenueMarket, VenueSymbol
from apps.venue_sim.server import VenueServer
from core.clock import EventClock
from core.errors import ConfigError, ContractError


def a_market() -> VenueMarket:
    return VenueMarket(VenueSymbol("BTC/USDT"))


def applied(snapshot: DepthSnapshot, diffs: list[DepthDiff]) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    """What a client has after following the venue's recipe."""
    bids, asks, at = dict(snapshot.bids), dict(snapshot.asks), snapshot.last_id
    for diff in diffs:
        if diff.last_id <= at:
            continue
        assert diff.first_id <= at + 1 <= diff.last_id
        for mine, theirs in ((bids, diff.bids), (asks, diff.asks)):
            mine.update(theirs)
        at = diff.last_id
    return {p: q for p, q in bids.items() if q}, {p: q for p, q in asks.items() if q}


@given(seed=st.integers(0, 10_000), steps=st.lists(st.booleans(), max_size=60))
def test_a_snapshot_at_any_moment_and_the_diffs_after_it_make_the_book(seed: int, steps: list[bool]) -> None:
    market = a_market()
    flow = SeededFlow(market, seed=seed)
    snapshot, diffs = market.snapshot(), []
    for number, sends in enumerate(steps, 1):
        flow.step(number)
        if sends and (diff := market.take_diff()):
            diffs.append(diff)
    if last := market.take_diff():
        diffs.append(last)

    bids, asks = applied(snapshot, diffs)

    now = market.snapshot()
    assert (bids, asks) == (dict(now.bids), dict(now.asks))
    assert now.bids[0][0] < now.asks[0][0]
    assert [t.id for t in market.tape] == list(range(1_000, 1_000 + len(steps)))


def test_the_same_seed_makes_the_same_market_and_another_one_another() -> None:
    tapes = []
    for seed in (1, 1, 2):
        market = a_market()
        flow = SeededFlow(market, seed=seed)
        tapes.append([flow.step(ts) for ts in range(1, 50)])

    assert tapes[0] == tapes[1] != tapes[2]


def test_history_starts_at_the_oldest_trade_that_is_remembered() -> None:
    market = a_market()
    flow = SeededFlow(market, seed=1)
    for ts in range(1, 31):
        flow.step(ts)

    assert [t.id for t in market.from_id(1_010, 3)] == [1_010, 1_011, 1_012]
    assert [t.id for t in market.from_id(1_010, 3, history=5)] == [1_025, 1_026, 1_027]
    assert [t.id for t in market.recent(2)] == [1_028, 1_029]
    assert len(market.recent(500, history=5)) == 5


def test_aggregates_cover_every_trade_once_under_ids_of_their_own() -> None:
    market = a_market()
    for ts, price in ((1, 10), (1, 10), (1, 11), (2, 11)):
        market.trade(Decimal(price), Decimal(1), buyer_is_maker=False, ts_ms=ts)

    rows = market.aggregates()

    assert [(a.id, a.first.id, a.last.id, int(a.qty)) for a in rows] == [
        (1, 1_000, 1_001, 2), (2, 1_002, 1_002, 1), (3, 1_003, 1_003, 1),
    ]  # fmt: skip


def test_a_trade_id_out_of_turn_is_refused() -> None:
    market = a_market()
    market.trade(Decimal(1), Decimal(1), buyer_is_maker=True, ts_ms=1, trade_id=7)

    with pytest.raises(ContractError, match="expected trade id 8, got 9"):
        market.trade(Decimal(1), Decimal(1), buyer_is_maker=True, ts_ms=1, trade_id=9)


def test_a_recorded_capture_keeps_its_trade_ids(recorded_data: Path) -> None:
    market = a_market()

    trades = [s.trade for s in CaptureFlow(market, recorded_data / "binance_spot_btcusdt_20240808.raw.gz").steps()]

    ids = [t.id for t in trades if t is not None]
    assert ids == list(range(3_735_683_259, 3_735_693_016))
    snapshot = market.snapshot(1)
    assert snapshot.bids[0][0] < snapshot.asks[0][0]


def test_faults_drop_repeat_and_delay_as_told() -> None:
    faults = StreamFaults(seed=1)
    faults.lose([7])
    assert faults.passed("s", "seven", 7) == []
    assert faults.passed("s", "eight", 8) == ["eight"]
    faults.duplicate = 1.0
    assert faults.passed("s", "a") == ["a", "a"]
    faults.duplicate, faults.reorder = 0.0, 1.0
    assert faults.passed("s", "late") == []
    assert faults.passed("s", "next") == ["next", "late"]
    faults.stall()
    assert faults.passed("s", "x") == []
    faults.clear()
    assert faults.passed("s", "y") == ["y"]


def test_a_fraction_beyond_one_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="drop: expected a fraction"):
        StreamFaults(drop=1.5)


async def test_a_rate_that_is_not_above_zero_is_refused() -> None:
    market = a_market()
    drive = Drive(VenueServer([market], clock=EventClock()), EventClock())

    with pytest.raises(ConfigError, match="--rate"):
        await drive.seeded(SeededFlow(market, seed=1), 0.0)
