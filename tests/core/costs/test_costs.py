"""Fees and slippage to the last unit, against decimals."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

import execution.fees
import execution.slippage
from core import costs
from core.costs import FeeSchedule, slipped
from core.instruments import Instrument
from tests.support.paper_orders import BTC


def test_execution_shows_the_costs_of_core_and_none_of_its_own() -> None:
    assert execution.fees.FeeSchedule is costs.FeeSchedule
    assert execution.slippage.Slippage is costs.Slippage


@given(ticks=st.integers(1, 10**12), ppm=st.integers(0, 10**6))
def test_slippage_is_never_in_favour_and_less_than_a_tick_off(ticks: int, ppm: int) -> None:
    exact = Decimal(ticks) * ppm / 1_000_000

    assert 0 <= slipped(ticks, "buy", ppm) - ticks - exact < 1
    assert 0 <= ticks - exact - slipped(ticks, "sell", ppm) < 1 or slipped(ticks, "sell", ppm) == 1


def test_without_slippage_the_price_stays() -> None:
    assert slipped(12_345, "buy", 0) == slipped(12_345, "sell", 0) == 12_345


def test_makers_and_takers_pay_their_own_rate() -> None:
    fees = FeeSchedule(BTC)

    assert fees.fee(1_000, 10_000, "taker") == 0.1  # one unit at 100.00, 10 basis points
    assert fees.fee(1_000, 10_000, "maker") == 0.05


def test_a_rebate_is_a_negative_fee_rounded_like_a_fee() -> None:
    instrument = Instrument("AAA/USDT", Decimal("0.00001"), Decimal("0.001"), maker_fee=Decimal("-0.5"))
    fees = FeeSchedule(instrument)

    assert fees.units(1, 1, "maker") == -1  # half a unit, away from zero
    assert fees.fee(1, 1, "maker") == -1e-8


@given(
    lots=st.integers(1, 10**7),
    ticks=st.integers(1, 10**8),
    rate=st.decimals(0, "0.01", places=6),
    tick_size=st.sampled_from(["0.01", "0.5", "0.00000001"]),
    lot_size=st.sampled_from(["0.00001", "1", "0.3"]),
)
def test_a_fee_is_the_exact_notional_times_the_rate_rounded_once(
    lots: int, ticks: int, rate: Decimal, tick_size: str, lot_size: str
) -> None:
    instrument = Instrument("AAA/USDT", Decimal(tick_size), Decimal(lot_size), taker_fee=rate)

    exact = lots * instrument.lot_size * ticks * instrument.tick_size * rate
    expected = exact.quantize(Decimal("1E-8"), ROUND_HALF_UP)
    assert FeeSchedule(instrument).units(lots, ticks, "taker") == expected * 10**8
