"""Amounts by whole numbers are the floats that exact decimals give, and ids the base 32 of their digest."""

from __future__ import annotations

import base64
import hashlib
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from core import ids
from core.instruments import Instrument
from core.position_ledger import FEE_UNIT, Position, fee_of_units, fee_units, to_fee_units

STEPS = st.sampled_from([Decimal(s) for s in ("0.5", "0.01", "1", "0.00001", "0.25", "5", "1E-8", "100", "0.00003")])
COUNTS = st.integers(-(10**12), 10**12)


@given(tick=STEPS, lot=STEPS, count=COUNTS)
def test_prices_quantities_and_money_are_the_nearest_floats(tick: Decimal, lot: Decimal, count: int) -> None:
    instrument = Instrument("A/B", tick, lot)

    assert instrument.price(count) == float(count * tick)
    assert instrument.qty(count) == float(count * lot)
    assert instrument.money(count) == float(count * tick * lot)


@given(units=st.integers(-(10**16), 10**16), noise=st.floats(-1e9, 1e9))
def test_fees_come_and_go_without_a_unit_lost(units: int, noise: float) -> None:
    assert fee_of_units(units) == float(units * FEE_UNIT)
    for fee in (fee_of_units(units), noise):
        assert fee_units(fee) == to_fee_units(Decimal(repr(fee)))


@given(tick=STEPS, lot=STEPS, lots=st.integers(-(10**6), 10**6), cost=st.integers(0, 10**12),
       ticks=st.integers(1, 10**8), off=st.floats(0.01, 1e6), fees=COUNTS)  # fmt: skip
def test_what_is_open_is_worth_what_decimals_say(
    tick: Decimal, lot: Decimal, lots: int, cost: int, ticks: int, off: float, fees: int
) -> None:
    instrument = Instrument("A/B", tick, lot)
    position = Position(instrument, lots, cost, 0, cost, fees)

    assert position.cash == float(position.cash_exact)
    for price in (instrument.price(ticks), off):
        signed = cost if lots > 0 else -cost
        exact = lots * lot * Decimal(repr(price)) - signed * instrument.money_unit
        assert position.unrealized_pnl(price) == float(exact)


@given(parts=st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_a_stem_is_the_base_32_of_its_digest(parts: list[str]) -> None:
    digest = hashlib.blake2b(digest_size=10)
    for part in parts:
        digest.update(len(part.encode()).to_bytes(4, "big") + part.encode())

    assert ids.stem(*parts) == base64.b32encode(digest.digest()).decode().lower()
