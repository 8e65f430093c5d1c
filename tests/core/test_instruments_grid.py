"""Ticks and lots: exact on the grid, refused off it, rounded only when asked; unknown symbols are named."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ContractError, UnknownSymbolError
from core.instruments import Instrument, Instruments, file_symbol

BTC = Instrument("BTC/USDT", Decimal("0.01"), Decimal("0.00001"))
COARSE = Instrument("X/USDT", Decimal("0.01"), Decimal("0.1"))
TABLE = Instruments([BTC, Instrument("ETH/USDT", Decimal("0.01"), Decimal("0.0001"))])


@given(st.integers(0, 10**11))
def test_every_price_and_quantity_on_the_grid_comes_back_exactly(steps: int) -> None:
    assert BTC.ticks(BTC.price(steps)) == steps
    assert BTC.lots(BTC.qty(steps)) == steps
    assert BTC.floor_qty(BTC.qty(steps)) == BTC.qty(steps)
    assert BTC.round_price(BTC.price(steps)) == BTC.price(steps)


@pytest.mark.parametrize("price", [100.005, 0.009, 123.456789])
def test_a_price_off_the_grid_is_refused_with_the_step(price: float) -> None:
    with pytest.raises(ContractError, match=r"BTC/USDT: expected a price in steps of 0\.01, got "):
        BTC.ticks(price)


@given(st.floats(1e-4, 1e6))
def test_rounding_is_never_worse_than_asked_for_by_more_than_a_millionth_of_a_step(price: float) -> None:
    noise = price * 1e-15
    assert BTC.round_price(price, "buy") - 1e-8 - noise <= price <= BTC.round_price(price, "sell") + 1e-8 + noise
    assert BTC.floor_qty(price) - 1e-11 - noise <= price


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_the_difference_of_two_numbers_on_the_grid_loses_no_step(one: int, other: int) -> None:
    large, small = max(one, other), min(one, other)
    expected = large - small

    assert COARSE.lots(COARSE.floor_qty(large / 10 - small / 10)) == expected
    for side in ("buy", "sell", None):
        assert COARSE.ticks(COARSE.round_price(large / 100 - small / 100, side)) == expected


@pytest.mark.parametrize(("share", "accepted"), [(0.9e-6, True), (1.1e-6, False)])
def test_a_number_is_on_the_grid_up_to_a_millionth_of_a_step(share: float, accepted: bool) -> None:
    price, qty = 100.0 - 0.01 * share, 0.5 - 0.1 * share

    assert COARSE.round_price(price, "buy") == (100.0 if accepted else 99.99)
    assert COARSE.floor_qty(qty) == (0.5 if accepted else 0.4)
    if accepted:
        assert (COARSE.ticks(price), COARSE.lots(qty)) == (10_000, 5)
        return
    with pytest.raises(ContractError, match=r"in steps of 0\.01"):
        COARSE.ticks(price)
    with pytest.raises(ContractError, match=r"in steps of 0\.1"):
        COARSE.lots(qty)


@pytest.mark.parametrize(
    "symbol", ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-250328", "币安人生/USDT", "1000SHIB/USDT"]
)
def test_money_of_spot_and_of_a_linear_contract_is_one_currency(symbol: str) -> None:
    assert replace(BTC, symbol=symbol).quote == "USDT"


@pytest.mark.parametrize("symbol", ["BTC/USD:BTC", "BTC/USD:BTC-250328"])
def test_a_contract_that_settles_in_another_currency_than_its_quote_is_refused(symbol: str) -> None:
    with pytest.raises(
        ContractError, match=r"expected a contract that settles in its quote currency USD, got .* BTC: its"
    ):
        replace(BTC, symbol=symbol)


def test_the_sum_of_a_thousand_lots_is_exact() -> None:
    assert sum(BTC.lots(0.00003) for _ in range(1000)) == BTC.lots(0.03)
    assert BTC.money(BTC.ticks(60_000.01) * BTC.lots(0.00001)) == 0.6000001


@pytest.mark.parametrize(
    "wrong",
    [{"symbol": "BTCUSDT"}, {"symbol": "/USDT"}, {"symbol": "A/B/C"}, {"symbol": "BTC/USDT "},
     {"symbol": "A/B:"}, {"symbol": "A/:B"}, {"tick_size": Decimal(0)},
     {"lot_size": Decimal(-1)}, {"tick_size": Decimal("NaN")}, {"min_notional": Decimal(-1)},
     {"taker_fee": Decimal("Infinity")}],
)  # fmt: skip
def test_an_instrument_that_cannot_be_traded_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=r"Instrument\.\w+.*: expected"):
        replace(BTC, **wrong)


@pytest.mark.parametrize(
    ("asked", "hint"), [("BTC/USD", "did you mean BTC/USDT? Add"), ("DOGE", "BTC/USDT, ETH/USDT. Add")]
)
def test_an_unknown_symbol_is_told_with_its_neighbour_and_the_remedy(asked: str, hint: str) -> None:
    for ask in (TABLE.__getitem__, TABLE.of_venue_name):
        with pytest.raises(UnknownSymbolError) as caught:
            ask(asked)
        assert str(caught.value).startswith(f"unknown symbol '{asked}': expected one of ")
        assert hint in str(caught.value)
        assert str(caught.value).endswith("Add it under `instruments` in config/base.yaml")


def test_a_venues_own_spelling_is_found_and_files_are_named_by_it() -> None:
    assert TABLE.of_venue_name("btcusdt") is BTC
    assert file_symbol("BTC/USDT") == "BTCUSDT"
    assert TABLE.get("X/Y") is None
    assert list(TABLE) == ["BTC/USDT", "ETH/USDT"]
