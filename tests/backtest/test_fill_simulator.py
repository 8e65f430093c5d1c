"""Fills on bars as tables of candles: each case a few of them, with one line of story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from backtest.contracts import FillTiming
from backtest.data.price_grid import PriceGrid
from backtest.data.series import BarSeries
from backtest.engine.risk_check import NoRiskCheck
from backtest.fill_simulator import FillSimulator, Moment
from core.contracts import OrderCancel, OrderEvent, OrderIntent, OrderType, OrderUpdate
from tests.support.backtests.runs import (
    ATOM,
    BTC,
    CONFIG,
    INSTRUMENTS,
    T0,
    Action,
    at,
    bars,
    cancel_all,
    engine,
    fills_of,
    limit,
    market,
    result_of,
)

COLUMNS = ("ts_open", "ts_close", "open", "high", "low", "close", "volume")
NEXT = {"fill_timing": FillTiming.NEXT_OPEN}
FLAT = (10.0, 10.1, 9.9, 10.0)
Row = Sequence[float]
Case = tuple[str, dict[int, Action], Sequence[Row], Mapping[str, Any], list[tuple[int, str, float, float]]]

CASES: list[Case] = [
    # Orders at the close of a bar n are decided at minute n + 1; a fill's minute is that of its time.
    (
        "a market order fills at the close it was decided on",
        {0: market("buy")},
        [FLAT, FLAT],
        {},
        [(1, "buy", 1, 10.0)],
    ),
    (
        "a market order waits for the next open",
        {0: market("buy")},
        [FLAT, (10.05, 10.3, 10.0, 10.2)],
        NEXT,
        [(1, "buy", 1, 10.05)],
    ),
    ("an order on the last bar finds no next open", {1: market("buy")}, [FLAT, FLAT], NEXT, []),
    (
        "slippage moves a buy up and a sell down",
        {0: market("buy"), 1: market("sell")},
        [FLAT, FLAT],
        {"slippage_bps": 50.0},
        [(1, "buy", 1, 10.05), (2, "sell", 1, 9.95)],
    ),
    (
        "slippage is rounded to the next tick against the order",
        {0: market("buy"), 1: market("sell")},
        [FLAT, FLAT],
        {"slippage_bps": 1.0},
        [(1, "buy", 1, 10.01), (2, "sell", 1, 9.99)],
    ),
    (
        "slippage by range takes its share of the bar's range",
        {0: market("buy")},
        [(10.0, 10.4, 9.9, 10.0)],
        {"slippage_bps": 1_000.0, "slippage_model": "range"},
        [(1, "buy", 1, 10.05)],
    ),
    (
        "slippage by volume grows with the root of the share: a quarter of the volume pays half",
        {0: market("buy", 250.0)},
        [FLAT],
        {"slippage_bps": 100.0, "slippage_model": "volume"},
        [(1, "buy", 250, 10.05)],
    ),
    (
        "at the next open, range and volume are those of the bar that is closed by then",
        {0: market("buy")},
        [(10.0, 10.4, 9.9, 10.0), (10.0, 19.0, 5.0, 10.0)],
        {"slippage_bps": 1_000.0, "slippage_model": "range", **NEXT},
        [(1, "buy", 1, 10.05)],
    ),
    (
        "a limit buy fills at its limit once a later bar reaches down to it",
        {0: limit("buy", 9.8)},
        [FLAT, FLAT, (10.0, 10.0, 9.8, 9.9)],
        {},
        [(3, "buy", 1, 9.8)],
    ),
    (
        "a low one tick above the limit does not fill it",
        {0: limit("buy", 9.8)},
        [FLAT, (10.0, 10.0, 9.81, 9.9)],
        {},
        [],
    ),
    (
        "a limit sell fills at its limit once a later bar reaches up to it",
        {0: limit("sell", 10.2)},
        [FLAT, FLAT, (10.0, 10.2, 9.9, 9.9)],
        {},
        [(3, "sell", 1, 10.2)],
    ),
    (
        "the bar that was decided on fills no limit, however low it was",
        {0: limit("buy", 9.5)},
        [(10.0, 10.0, 9.0, 9.9), FLAT],
        {},
        [],
    ),
    (
        "bar_close fills at the limit even where the bar opens beyond it, as specified",
        {0: limit("buy", 9.8)},
        [FLAT, (9.5, 9.9, 9.4, 9.6)],
        {},
        [(2, "buy", 1, 9.8)],
    ),
    (
        "next_open gives a limit that the first open satisfies that open",
        {0: limit("buy", 9.8)},
        [FLAT, (9.5, 9.9, 9.4, 9.6)],
        NEXT,
        [(1, "buy", 1, 9.5)],
    ),
    (
        "next_open fills a resting limit at its limit, also where a later bar opens beyond it",
        {0: limit("buy", 9.8)},
        [FLAT, FLAT, (9.5, 9.9, 9.4, 9.6)],
        NEXT,
        [(3, "buy", 1, 9.8)],
    ),
    (
        "slippage leaves limits alone",
        {0: limit("buy", 9.8)},
        [FLAT, (10.0, 10.0, 9.7, 9.9)],
        {"slippage_bps": 100.0},
        [(2, "buy", 1, 9.8)],
    ),
    (
        "a canceled order fills no more",
        {0: limit("buy", 9.8), 1: cancel_all},
        [FLAT, FLAT, (10.0, 10.0, 9.0, 9.9)],
        {},
        [],
    ),
]


@pytest.mark.parametrize(("story", "script", "rows", "changes", "expected"), CASES, ids=[case[0] for case in CASES])
def test_fills(
    story: str,
    script: dict[int, Action],
    rows: Sequence[Row],
    changes: Mapping[str, Any],
    expected: list[tuple[int, str, float, float]],
) -> None:
    assert fills_of(result_of(script, bars(rows), **changes)) == expected


def test_commission_is_the_notional_times_the_rate_on_both_sides() -> None:
    result = result_of({0: market("buy", 2.0), 1: market("sell", 2.0)}, bars([FLAT, (10.0, 11.0, 10.0, 11.0)]))

    assert [fill["fee"] for fill in result.fills] == [0.02, 0.022]
    assert result.final_capital == pytest.approx(10_000 + 2 * 1.0 - 0.042, abs=1e-9)
    assert result.fees_paid == pytest.approx(0.042)


def test_without_commission_only_the_price_moves_the_capital() -> None:
    script = {0: market("buy"), 1: market("sell")}

    assert result_of(script, bars([FLAT, FLAT]), commission_rate=0.0).final_capital == 10_000.0


def test_resting_orders_pay_the_makers_rate_and_marketable_ones_the_takers() -> None:
    rows = [FLAT, (10.0, 10.1, 9.7, 10.0), FLAT]
    resting = result_of({0: limit("buy", 9.8)}, bars(rows), maker_rate=0.0)
    marketable = result_of({0: limit("buy", 10.1)}, bars(rows), maker_rate=0.0)

    assert [(f["liquidity"], f["fee"]) for f in resting.fills] == [("maker", 0.0)]
    assert [(f["liquidity"], f["fee"]) for f in marketable.fills] == [("taker", 0.0101)]


@pytest.mark.parametrize("risk", [True, False])
def test_what_is_below_the_minimum_notional_is_refused_and_counted(risk: bool) -> None:
    result = result_of({0: market("buy", 0.4)}, bars([FLAT, FLAT]), risk=risk)

    assert result.fills == ()
    assert result.refused == {"MIN_NOTIONAL": 1}


def test_a_market_order_that_waits_for_a_close_slips_by_the_volume_of_that_bar() -> None:
    whole = bars([FLAT, FLAT, FLAT, (10.0, 10.6, 10.0, 10.5), FLAT])
    gap = BarSeries(ATOM, "1m", *(getattr(whole, name)[[0, 3, 4]] for name in COLUMNS))
    other = bars([(10.0, 10.0, 10.0, 10.0)] * 5, BTC)
    slippage = {"slippage_bps": 100.0, "slippage_model": "volume"}

    result = result_of({2: market("buy", 250.0)}, [gap, other], symbols=(ATOM, BTC), **slippage)

    assert fills_of(result) == [(4, "buy", 250, 10.56)]  # a quarter of 1,000: half of 100 basis points


def asked(type_: OrderType, qty: float, price: float | None = None) -> OrderEvent:
    """An allowed order as the risk engine sends it, whatever the instrument says to it."""
    intent = OrderIntent("scripted", ATOM, "buy", type_, qty, price, "i-1", at(0))
    _, order = NoRiskCheck().decide(intent)
    assert isinstance(order, OrderEvent)
    return order


def first_answer(order: OrderEvent, ts_ns: int = at(0)) -> OrderUpdate:
    """The venue's first answer to an order; the only bar closes at 10.0 at ``at(0)``."""
    venue = FillSimulator(CONFIG, {ATOM: PriceGrid(bars([FLAT]), INSTRUMENTS[ATOM])})
    update = venue.on_order(order, Moment(ts_ns, 0))[0]
    assert isinstance(update, OrderUpdate)
    return update


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (asked("limit", 1.0, 10.005), "TICK_SIZE: ATOM/USDT: expected a price in steps of 0.01, got 10.005"),
        (asked("market", 0.55), "LOT_SIZE: ATOM/USDT: expected a quantity in steps of 0.1, got 0.55"),
    ],
)
def test_the_venue_itself_refuses_what_is_off_the_grid(order: OrderEvent, reason: str) -> None:
    update = first_answer(order)

    assert (update.status, update.reason) == ("rejected", reason)


@pytest.mark.parametrize(
    ("order", "status"),
    [
        (asked("market", 0.5), "open"),  # 5.00 at the close of 10.0: exactly the minimum
        (asked("market", 0.4), "rejected"),
        (asked("limit", 0.5, 10.0), "open"),
        (asked("limit", 0.5, 9.99), "rejected"),  # 4.995, at its own limit and not at the close
        (asked("limit", 0.4, 12.5), "open"),
    ],
)
def test_the_venue_takes_an_order_of_exactly_the_minimum_notional_and_none_below(
    order: OrderEvent, status: str
) -> None:
    update = first_answer(order)

    assert update.status == status
    assert update.reason.startswith("MIN_NOTIONAL: ") == (status == "rejected")


def test_before_the_first_close_a_market_order_has_no_price_to_be_too_small_at() -> None:
    assert first_answer(asked("market", 0.1), T0).status == "open"


def test_a_quantity_off_the_grid_is_refused_at_the_strategys_door_and_told() -> None:
    result = result_of({0: market("buy", 0.55)}, bars([FLAT, FLAT]))

    assert result.refused == {"REFUSED_ANSWER": 1}
    assert "expected a quantity in steps of 0.1, got 0.55" in result.warnings[0]


def test_an_order_on_its_way_to_the_next_open_can_be_taken_back() -> None:
    whole = bars([FLAT] * 6)
    gap = BarSeries(ATOM, "1m", *(getattr(whole, name)[[0, 5]] for name in COLUMNS))
    other = bars([(10.0, 10.0, 10.0, 10.0)] * 6, BTC)
    script = {0: market("buy"), 2: cancel_all}  # by number over both symbols: minute 1 has two, minute 2 the third

    run = engine(script, [gap, other], symbols=(ATOM, BTC), **NEXT)
    result = run.run()

    assert result.fills == ()
    assert [(u.status, (u.ts_ns - T0) // 60_000_000_000) for u in run.event_log if isinstance(u, OrderUpdate)] == [
        ("open", 1),
        ("canceled", 2),
    ]


def test_where_no_bar_of_the_symbol_closes_a_market_order_takes_its_next_close() -> None:
    whole = bars([FLAT, FLAT, FLAT, (10.0, 10.6, 10.0, 10.5), FLAT])
    gap = BarSeries(ATOM, "1m", *(getattr(whole, name)[[0, 3, 4]] for name in COLUMNS))
    other = bars([(10.0, 10.0, 10.0, 10.0)] * 5, BTC)

    result = result_of({2: market("buy")}, [gap, other], symbols=(ATOM, BTC))  # decided at minute 2, on a bar of BTC

    assert fills_of(result) == [(4, "buy", 1, 10.5)]


def test_every_order_at_the_venue_carries_its_decision_with_or_without_the_risk_engine() -> None:
    script = {0: market("buy"), 1: limit("sell", 10.1)}
    guarded, open_ = (result_of(script, bars([FLAT] * 3), risk=risk) for risk in (True, False))

    assert all(order["decision"]["allowed"] for order in (*guarded.orders, *open_.orders))
    assert {order["decision"]["inputs"]["risk"] for order in open_.orders} == {"off: every intent was allowed"}
    assert guarded.fills == open_.fills


def test_a_cancel_of_what_is_not_there_changes_nothing() -> None:
    def meddles(strategy: Any, bar: Any) -> Any:
        return [OrderCancel("o-foreign", ATOM, strategy.strategy_id, bar.ts_ns)]

    run = engine({0: meddles}, bars([FLAT]))

    assert run.run().refused == {}
    assert not [message for message in run.event_log if isinstance(message, OrderUpdate)]
