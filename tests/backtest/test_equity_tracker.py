"""Equity after every bar: cash plus position value, exact, whatever way it is counted."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest.contracts import EquityCurve
from backtest.data.price_grid import PriceGrid
from backtest.equity_tracker import EquityTracker, equity_columns
from backtest.fill_simulator import Booked
from core.instruments import Instrument
from core.position_ledger import FEE_UNIT
from tests.support.backtests.runs import ATOM, BTC, INSTRUMENTS, closes, limit, market, result_of, walk

ATOM_ONLY = (INSTRUMENTS[ATOM],)
FEES_PER_UNIT = int(1 / FEE_UNIT)


def test_without_a_position_all_is_cash() -> None:
    tracker = EquityTracker(1_000.0, ATOM_ONLY)
    tracker.on_price(ATOM, 1_000)
    tracker.on_bar(1)

    assert (tracker.cash, tracker.position_value, tracker.equity) == (1_000.0, 0.0, 1_000.0)
    assert tracker.curve == [(1, 1_000.0)]


def test_fully_invested_no_cash_is_left() -> None:
    tracker = EquityTracker(1_000.0, ATOM_ONLY)
    tracker.on_fill(ATOM, 1_000, 1_000, 0)  # 100 at 10.00

    assert (tracker.cash, tracker.position_value, tracker.equity) == (0.0, 1_000.0, 1_000.0)


def test_until_its_first_price_a_position_is_worth_its_first_fill() -> None:
    tracker = EquityTracker(1_000.0, ATOM_ONLY)
    tracker.on_fill(ATOM, 100, 1_000, 0)  # 10 at 10.00
    tracker.on_fill(ATOM, 100, 1_200, 0)  # 10 at 12.00

    assert (tracker.position_value, tracker.equity) == (200.0, 980.0)

    tracker.on_price(ATOM, 1_200)
    assert (tracker.position_value, tracker.equity) == (240.0, 1_020.0)


def test_a_fill_after_a_price_does_not_move_the_mark() -> None:
    tracker = EquityTracker(1_000.0, ATOM_ONLY)
    tracker.on_price(ATOM, 1_000)
    tracker.on_fill(ATOM, 100, 1_200, 0)

    assert (tracker.position_value, tracker.equity) == (100.0, 980.0)


def test_a_curve_knows_no_price_of_a_symbol_before_its_first_bar_closes() -> None:
    grid = PriceGrid(closes([20.0, 21.0]), INSTRUMENTS[ATOM])
    first = grid.closes_at[0]
    booked = [Booked(ATOM, 0, first - 30, 100, 1_000, 0)]  # 10 at 10.00, in the moment of another symbol's bar

    times, equity = equity_columns(1_000.0, {ATOM: grid}, [first - 20, first], booked)

    assert list(zip(times.tolist(), equity.tolist(), strict=True)) == [(first - 20, 1_000.0), (first, 1_100.0)]


def test_a_position_of_more_lots_than_64_bits_hold_is_counted_exactly() -> None:
    instrument = Instrument(ATOM, INSTRUMENTS[ATOM].tick_size, Decimal("1e-12"))
    grid = PriceGrid(closes([0.01, 0.02]), instrument)
    lots = 3 * 10**21  # 3,000,000,000 at 0.01

    booked = [Booked(ATOM, 0, grid.closes_at[0], lots, 1, 0)]
    _, equity = equity_columns(1e8, {ATOM: grid}, grid.closes_at, booked)

    assert equity.tolist() == [1e8, 1e8 + 3e7]


def test_a_short_position_is_worth_less_as_the_price_rises() -> None:
    tracker = EquityTracker(1_000.0, ATOM_ONLY)
    tracker.on_fill(ATOM, -100, 1_000, 2 * FEES_PER_UNIT)
    tracker.on_price(ATOM, 1_100)

    assert (tracker.cash, tracker.position_value, tracker.equity) == (1_098.0, -110.0, 988.0)


def test_the_curve_of_a_rising_market_held_never_falls() -> None:
    result = result_of({0: market("buy", 10.0)}, closes([10.0 + n / 10 for n in range(30)]), commission_rate=0.0)
    equity = [capital for _, capital in result.equity_curve]

    assert equity == sorted(equity)
    assert equity[-1] == pytest.approx(10_000 + 10 * 2.9)


def test_a_fall_and_its_recovery_show_as_a_drawdown() -> None:
    result = result_of({0: market("buy", 100.0)}, closes([10.0, 12.0, 9.0, 9.5, 13.0]), commission_rate=0.0)

    assert [capital for _, capital in result.equity_curve] == [10_000.0, 10_200.0, 9_900.0, 9_950.0, 10_300.0]
    assert result.max_drawdown_pct == pytest.approx(100 * 300 / 10_200)


def test_there_is_one_point_for_every_time_a_bar_closes_whichever_symbols() -> None:
    first, second = walk(1, 20, ATOM, gap=0.3), walk(1, 20, BTC, gap=0.3)
    result = result_of({}, [first, second], symbols=(ATOM, BTC))

    assert [ts for ts, _ in result.equity_curve] == sorted({*first.ts_close.tolist(), *second.ts_close.tolist()})


def test_fills_in_a_bar_count_in_that_bar_and_fills_at_an_open_in_the_next() -> None:
    rising = closes([10.0, 10.0, 9.0, 10.0])
    result = result_of({0: limit("buy", 9.5, 10.0)}, rising, commission_rate=0.0)

    assert [capital for _, capital in result.equity_curve] == [10_000.0, 10_000.0, 9_995.0, 10_005.0]


@given(
    fills=st.lists(
        st.tuples(
            st.integers(0, 9), st.integers(-50, 50).filter(bool), st.integers(1, 10**6), st.integers(-500, 10**9)
        ),
        max_size=12,
    ),
    capital=st.sampled_from([1_000.0, 0.1, 123_456.789]),
    fine=st.booleans(),
)
def test_the_curve_computed_at_once_is_the_tracked_one_to_the_last_bit(
    fills: list[tuple[int, int, int, int]], capital: float, fine: bool
) -> None:
    prices = [7.0 + n for n in range(10)]
    instrument = Instrument(ATOM, INSTRUMENTS[ATOM].tick_size, INSTRUMENTS[ATOM].lot_size.scaleb(-14 if fine else 0))
    grid = PriceGrid(closes(prices), instrument)
    booked = [Booked(ATOM, m, grid.closes_at[m], lots, ticks, fee) for m, lots, ticks, fee in sorted(fills)]

    tracker = EquityTracker(capital, (instrument,))
    for index, ts_ns in enumerate(grid.closes_at):
        for fill in booked:
            if fill.moment == index:
                tracker.on_fill(fill.symbol, fill.lots, fill.ticks, fill.fee)
        tracker.on_price(ATOM, int(grid.close[index]))
        tracker.on_bar(ts_ns)

    assert EquityCurve(*equity_columns(capital, {ATOM: grid}, grid.closes_at, booked)) == tracker.curve
