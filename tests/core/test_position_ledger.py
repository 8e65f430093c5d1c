"""The position ledger by example: what fills add up to, what is refused, what survives a snapshot."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ConfigError, ContractError, UnknownSymbolError
from core.instruments import Instrument, Instruments
from core.position_ledger import OpenLot, PositionLedger, fee_of_units, fee_units
from tests.support.paper_orders import INSTRUMENTS, fill


def test_a_symbol_that_never_traded_is_flat() -> None:
    position = PositionLedger(INSTRUMENTS).position("BTC/USDT")

    assert position.is_flat
    assert (position.qty, position.avg_price, position.cash, position.unrealized_pnl(50_000.0)) == (0, 0, 0, 0)


def test_positions_lists_only_what_traded_in_order_of_symbol() -> None:
    ledger = PositionLedger(INSTRUMENTS)
    ledger.apply(fill("buy", 1, 100, symbol="ETH/USDT"))
    assert list(ledger.positions()) == ["ETH/USDT"]

    ledger.apply(fill("buy", 1, 100, symbol="BTC/USDT"))
    assert list(ledger.positions()) == ["BTC/USDT", "ETH/USDT"]


def test_a_position_is_a_value_that_later_fills_do_not_change() -> None:
    ledger = PositionLedger(INSTRUMENTS)
    before = ledger.apply(fill("buy", 1, 100))

    ledger.apply(fill("buy", 1, 110))

    assert before.qty == 1.0
    assert ledger.position("BTC/USDT").qty == 2.0


@pytest.mark.parametrize(("method", "realized", "avg_price"), [("fifo", 25.0, 110.0), ("average", 22.5, 105.0)])
def test_the_method_decides_what_a_sale_costs(method: Any, realized: float, avg_price: float) -> None:
    ledger = PositionLedger(INSTRUMENTS, method)
    ledger.apply(fill("buy", 1, 100))
    ledger.apply(fill("buy", 1, 110))

    position = ledger.apply(fill("sell", 1.5, 120))

    assert (position.realized_pnl, position.avg_price, position.qty) == (realized, avg_price, 0.5)


@given(
    st.lists(st.tuples(st.integers(1, 5_000), st.integers(1, 200_000)), min_size=1, max_size=6),
    st.sampled_from(["buy", "sell"]),
)
def test_the_average_price_is_the_exact_quotient_to_the_nearest_float(fills: list[tuple[int, int]], side: Any) -> None:
    instrument = INSTRUMENTS["BTC/USDT"]
    ledger = PositionLedger(INSTRUMENTS)
    for lots, ticks in fills:
        ledger.apply(fill(side, instrument.qty(lots), instrument.price(ticks)))

    cost = sum(Fraction(instrument.tick_size) * ticks * lots for lots, ticks in fills)

    assert ledger.position("BTC/USDT").avg_price == float(cost / sum(lots for lots, _ in fills))


def test_an_average_price_between_two_steps_keeps_its_digits() -> None:
    ledger = PositionLedger(INSTRUMENTS)
    ledger.apply(fill("buy", 2, 100))

    assert ledger.apply(fill("buy", 1, 101)).avg_price == 301 / 3


def test_fifo_shows_its_open_lots_oldest_first_and_joins_neighbours_at_one_price() -> None:
    ledger = PositionLedger(INSTRUMENTS)
    for qty, price in ((1, 100), (2, 100), (1, 110), (1, 100)):
        ledger.apply(fill("buy", qty, price))

    position = ledger.apply(fill("sell", 0.5, 100))

    assert position.open_lots == (OpenLot(10_000, 2_500), OpenLot(11_000, 1_000), OpenLot(10_000, 1_000))


@pytest.mark.parametrize("method", ["fifo", "average"])
def test_a_thousand_small_fills_close_to_exactly_flat(method: Any) -> None:
    ledger = PositionLedger(INSTRUMENTS, method)
    for step in range(1_000):
        ledger.apply(fill("buy", 0.001, 100.01 + step / 100, fee=0.00010001))
    position = ledger.apply(fill("sell", 1.0, 110.0))

    assert position.is_flat
    assert (position.qty, position.avg_price, position.unrealized_pnl(123.0), position.notional(123.0)) == (0, 0, 0, 0)
    assert position.fees_paid == 0.10001
    assert position.realized_pnl == 4.995  # 110 - (100.01 + 9.99 / 2)
    assert position.cash == 4.89499


def test_average_cost_keeps_the_remainder_of_a_division_in_what_is_open() -> None:
    ledger = PositionLedger(INSTRUMENTS, "average")
    ledger.apply(fill("buy", 0.002, 100.00))
    ledger.apply(fill("buy", 0.001, 100.01))

    one = ledger.apply(fill("sell", 0.001, 100.01))
    assert (one.realized, one.open_cost) == (1, 20_001)  # 30001 // 3 = 10000 leave, 20001 stay

    flat = ledger.apply(fill("sell", 0.002, 100.01))
    assert (flat.realized, flat.open_cost) == (2, 0)


def test_unrealized_profit_takes_marks_off_the_grid() -> None:
    short = PositionLedger(INSTRUMENTS).apply(fill("sell", 2, 100.0))

    assert short.unrealized_pnl(99.995) == 0.01
    assert short.notional(99.995) == -199.99


def test_a_rebate_is_a_negative_fee_and_adds_to_cash() -> None:
    position = PositionLedger(INSTRUMENTS).apply(fill("buy", 1, 100.0, fee=-0.01))

    assert (position.fees_paid, position.cash) == (-0.01, -99.99)


@pytest.mark.parametrize(
    ("fee", "units"), [(0.000000004, 0), (0.000000005, 1), (-0.000000005, -1), (0.000000015, 2), (1e-12, 0)]
)
def test_fees_are_counted_in_hundred_millionths_with_halves_away_from_zero(fee: float, units: int) -> None:
    assert fee_units(fee) == units


def test_fee_units_survive_the_way_through_a_float() -> None:
    for units in (1, 3, 12_345_678_901, 10**15 - 1, -7):
        assert fee_units(fee_of_units(units)) == units


@pytest.mark.parametrize(
    ("qty", "price", "expected"),
    [(0.0005, 100.0, "steps of 0.001"), (1.0, 100.005, "steps of 0.01"), (1e-12, 100.0, "at least one lot")],
)
def test_a_fill_off_the_grid_is_refused_and_changes_nothing(qty: float, price: float, expected: str) -> None:
    ledger = PositionLedger(INSTRUMENTS)

    with pytest.raises(ContractError, match=expected):
        ledger.apply(fill("buy", qty, price))

    assert dict(ledger.positions()) == {}


def test_an_unknown_symbol_is_refused_by_name() -> None:
    ledger = PositionLedger(INSTRUMENTS)
    with pytest.raises(UnknownSymbolError, match="DOGE/USDT"):
        ledger.apply(fill("buy", 1, 100, symbol="DOGE/USDT"))
    with pytest.raises(UnknownSymbolError, match="DOGE/USDT"):
        ledger.position("DOGE/USDT")


@pytest.mark.parametrize("method", ["fifo", "average"])
def test_a_snapshot_goes_through_json_and_continues_where_it_stood(method: Any) -> None:
    ledger = PositionLedger(INSTRUMENTS, method)
    for side, qty, price in (("buy", 1, 100), ("buy", 0.7, 101.5), ("sell", 0.9, 102), ("sell", 2, 99)):
        ledger.apply(fill(side, qty, price, fee=0.1))  # type: ignore[arg-type]  # literals of the table
    recovered = PositionLedger(INSTRUMENTS, method)

    recovered.load(msgspec.json.decode(msgspec.json.encode(ledger.snapshot())))

    assert recovered.snapshot() == ledger.snapshot()
    assert recovered.apply(fill("buy", 3, 98)) == ledger.apply(fill("buy", 3, 98))


def test_a_snapshot_of_another_method_or_grid_is_refused() -> None:
    ledger = PositionLedger(INSTRUMENTS)
    ledger.apply(fill("buy", 1, 100))

    with pytest.raises(ConfigError, match="by method average, got fifo"):
        PositionLedger(INSTRUMENTS, "average").load({**ledger.snapshot(), "method": "fifo"})
    finer = Instruments([Instrument("BTC/USDT", Decimal("0.001"), Decimal("0.001"))])
    with pytest.raises(ConfigError, match="tick_size of BTC/USDT"):
        PositionLedger(finer).load(ledger.snapshot())


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="fifo, average"):
        PositionLedger(INSTRUMENTS, "lifo")  # type: ignore[arg-type]  # the point of the test
