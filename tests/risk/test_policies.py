"""Every policy on its own, as tables: the story of a row is its id. And the catalogue of their denials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from core.clock import NS_PER_MS, NS_PER_S
from core.contracts import DenialCode, OrderIntent, TradingState
from core.errors import ConfigError, ContractError, RejectedError
from core.instruments import Instrument, Instruments
from risk import RiskEngine, RiskInputs, RiskLimits
from risk.catalogue import catalogue
from risk.decide import decide, first_denial
from risk.denial import Denial
from risk.inputs import INPUT_NAMES
from risk.limits import CAP_NAMES
from tests.support.risk_builders import LIMITS, at, decision_in, engine, intent, trade

NOW = at(0)
INPUTS = RiskInputs(
    now_ns=NOW,
    tick_size=0.01,
    lot_size=0.001,
    min_notional=5.0,
    order_lots=1_000,
    limit_ticks=10_000,
    ref_price=100.0,
    ref_price_ts_ns=NOW,
    ref_source="trade",
)


def denial(order: OrderIntent, limits: RiskLimits = LIMITS, **changes: Any) -> Denial | None:
    """What the policies say to an order when the world differs from ``INPUTS`` like this."""
    return first_denial(order, INPUTS._replace(order_lots=round(order.qty * 1_000), **changes), limits)


def code(order: OrderIntent, **changes: Any) -> DenialCode | None:
    found = denial(order, **changes)
    return None if found is None else found.code


def test_an_ordinary_order_passes_every_policy() -> None:
    assert denial(intent()) is None


@pytest.mark.parametrize(
    ("order", "allowed"),
    [
        pytest.param(intent("buy", 1, 105.0), True, id="a buy at the edge of the collar"),
        pytest.param(intent("buy", 1, 105.01), False, id="a buy one tick above the collar"),
        pytest.param(intent("sell", 1, 95.0), True, id="a sell at the edge of the collar"),
        pytest.param(intent("sell", 1, 94.99), False, id="a sell one tick below the collar"),
        pytest.param(intent("buy", 1, 50.0), True, id="a buy far below the market gives nothing away"),
        pytest.param(intent("sell", 1, 500.0), True, id="a sell far above the market gives nothing away"),
        pytest.param(intent("buy", 1, 500.0, kind="market"), True, id="a market order's price is a hint"),
    ],
)
def test_price_collar(order: OrderIntent, allowed: bool) -> None:
    assert code(order) is (None if allowed else DenialCode.PRICE_COLLAR)


def test_the_collar_says_how_far_off_the_limit_was() -> None:
    found = denial(intent("buy", 1, 110.0))
    assert found is not None
    assert found.reason == "PRICE_COLLAR: limit_price=110.00 ref_price=100.00 distance_bps=1000.00 collar_bps=500.00"


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        pytest.param({"now_ns": NOW + 5 * NS_PER_S}, True, id="just as old as allowed"),
        pytest.param({"now_ns": NOW + 5 * NS_PER_S + NS_PER_MS}, False, id="a millisecond too old"),
        pytest.param({"feed": "stale"}, False, id="fresh, but the feed is stale"),
        pytest.param({"feed": "reconnecting"}, False, id="fresh, but the feed is reconnecting"),
        pytest.param({"ref_price_ts_ns": 0, "ref_source": "limit"}, True, id="a limit price has no age"),
    ],
)
def test_stale_price(changes: Mapping[str, Any], allowed: bool) -> None:
    assert code(intent(), **changes) is (None if allowed else DenialCode.STALE_PRICE)


@pytest.mark.parametrize(
    ("order", "changes", "expected"),
    [
        pytest.param(intent(qty=0.05), {}, None, id="worth exactly the minimum"),
        pytest.param(intent(qty=0.049), {}, DenialCode.MIN_NOTIONAL, id="worth less than the minimum"),
        pytest.param(intent("buy", 0.05, 99.0), {}, DenialCode.MIN_NOTIONAL, id="the limit price is what counts"),
        pytest.param(intent("sell", 0.049, 103.0), {}, None, id="a sell above the market is worth more"),
        pytest.param(intent(qty=0.049), {"usd_per_quote": 9.0}, DenialCode.MIN_NOTIONAL, id="in quote, not dollars"),
    ],
)
def test_min_notional(order: OrderIntent, changes: Mapping[str, Any], expected: DenialCode | None) -> None:
    assert code(order, **changes) is expected


@pytest.mark.parametrize(
    ("order", "position", "buys", "sells", "allowed"),
    [
        pytest.param(intent("buy", 10), 10, 0, 0, True, id="ends exactly at the cap"),
        pytest.param(intent("buy", 10), 10.001, 0, 0, False, id="ends one lot beyond the cap"),
        pytest.param(intent("buy", 10), 5, 6, 0, False, id="working buys count"),
        pytest.param(intent("buy", 10), 5, 5, 50, True, id="working sells on the other side do not"),
        pytest.param(intent("sell", 10), -10.001, 0, 0, False, id="a short counts like a long"),
        pytest.param(intent("sell", 10), -5, 0, 6, False, id="working sells count for a short"),
        pytest.param(intent("sell", 10), 50, 0, 0, True, id="getting out is never denied"),
        pytest.param(intent("buy", 10), -50, 0, 0, True, id="nor from a short"),
        pytest.param(intent("sell", 10), 50, 0, 35, True, id="out, with other sells working, not below flat"),
        pytest.param(intent("sell", 10), 5, 0, 0, True, id="through flat to a short within the cap"),
        pytest.param(intent("sell", 10), 5, 0, 16, False, id="through flat to a short beyond the cap"),
    ],
)
def test_position_cap(order: OrderIntent, position: float, buys: float, sells: float, allowed: bool) -> None:
    lots = {"position_lots": round(position * 1_000), "open_buy_lots": buys * 1_000, "open_sell_lots": sells * 1_000}
    assert code(order, **lots) is (None if allowed else DenialCode.POSITION_CAP)


def test_the_position_cap_is_in_dollars_whatever_the_quote_currency() -> None:
    found = denial(intent(qty=1), ref_price=0.05, min_notional=0.0, position_lots=2_000, usd_per_quote=15_000.0)
    assert found is not None
    assert found.reason == "POSITION_CAP: exposure=2250.00 cap=2000.00 position=2.00 working=0.00"


@pytest.mark.parametrize(
    ("order", "position", "working_sells", "pnl", "restrictions", "expected"),
    [
        pytest.param(intent("buy", 1), 2, 0, -499.99, (), None, id="a cent before the cap"),
        pytest.param(intent("buy", 1), 2, 0, -500.0, (), DenialCode.DAILY_LOSS_CAP, id="exactly the cap"),
        pytest.param(intent("sell", 2), 2, 0, -500.0, (), None, id="down to flat is fine"),
        pytest.param(intent("sell", 2.001), 2, 0, -500.0, (), DenialCode.DAILY_LOSS_CAP, id="one lot past flat is not"),
        pytest.param(intent("sell", 1), 2, 2, -500.0, (), DenialCode.DAILY_LOSS_CAP, id="working sells close already"),
        pytest.param(intent("buy", 2), -2, 0, -500.0, (), None, id="a short is bought back"),
        pytest.param(intent("sell", 1), 0, 0, -500.0, (), DenialCode.DAILY_LOSS_CAP, id="flat has nothing to reduce"),
        pytest.param(intent("buy", 1), 0, 0, 0, ("daily_loss",), DenialCode.DAILY_LOSS_CAP, id="reached earlier today"),
        pytest.param(intent("buy", 1), 0, 0, 0, ("manual_reduce",), DenialCode.REDUCING, id="reducing by hand"),
        pytest.param(intent("sell", 2), 2, 0, 0, ("manual_reduce",), None, id="reducing by hand, a reduction"),
    ],
)
def test_reducing_only(
    order: OrderIntent,
    position: float,
    working_sells: float,
    pnl: float,
    restrictions: tuple[str, ...],
    expected: DenialCode | None,
) -> None:
    state = TradingState.REDUCING.value if restrictions else TradingState.ACTIVE.value
    lots = {"position_lots": round(position * 1_000), "open_sell_lots": round(working_sells * 1_000)}
    assert code(order, **lots, day_pnl_usd=pnl, restrictions=restrictions, state=state) is expected


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        pytest.param(intent(qty=0.1), None, id="on both grids"),
        pytest.param(intent(qty=0.1005), "LOT_SIZE: qty=0.1005 lot_size=0.001", id="half a lot too much"),
        pytest.param(intent(qty=0.0001), "LOT_SIZE: qty=0.0001 lot_size=0.001", id="less than a lot"),
        pytest.param(intent(qty=1e-12), "LOT_SIZE: qty=0.00 lot_size=0.001", id="next to nothing"),
        pytest.param(intent(limit=100.005), "TICK_SIZE: limit_price=100.005 tick_size=0.01", id="half a tick"),
        pytest.param(intent(limit=100.005, kind="market"), None, id="a market order's price needs no grid"),
        pytest.param(intent(qty=0.1 + 0.2), None, id="float noise is no violation"),
        pytest.param(intent(symbol="FOO/BAR"), "UNKNOWN_SYMBOL: symbol=FOO/BAR", id="a symbol nobody configured"),
    ],
)
def test_the_grid(order: OrderIntent, expected: str | None) -> None:
    risk = engine()
    risk.on_event(trade(100.0))
    assert decision_in(risk.on_event(order)).reason == (expected or "")


def test_the_kill_switch_speaks_before_everything_else_and_the_rate_last() -> None:
    wrong = {"known_symbol": False, "state": "HALTED", "ref_price": 0.0, "rate_backlog_ns": 10**12}
    assert code(intent(), **wrong) is DenialCode.HALTED
    assert code(intent(), **{**wrong, "state": "ACTIVE"}) is DenialCode.UNKNOWN_SYMBOL
    assert code(intent(), rate_backlog_ns=10**12, position_lots=10**6) is DenialCode.POSITION_CAP
    assert code(intent(), rate_backlog_ns=10**12) is DenialCode.ORDER_RATE


DENIED: Mapping[DenialCode, Denial | None] = {
    found.code: found
    for found in (
        denial(intent(), state="HALTED"),
        denial(intent(), state="REDUCING"),
        denial(intent(qty=100)),
        denial(intent(), position_lots=20_000),
        denial(intent(), day_pnl_usd=-600.0),
        denial(intent(), rate_backlog_ns=10**12),
        denial(intent(limit=200.0)),
        denial(intent(), feed="stale"),
        denial(intent(), ref_price=0.0),
        denial(intent(qty=0.001)),
        denial(intent(qty=0.0001)),
        denial(intent(limit=100.0), limit_ticks=0),
        denial(intent(), known_symbol=False),
    )
    if found is not None
}


def test_the_catalogue_has_every_code_once_in_the_order_of_the_enum() -> None:
    assert [row.code for row in catalogue()] == list(DenialCode)


@pytest.mark.parametrize("row", catalogue(), ids=lambda row: row.code.value)
def test_the_catalogue_names_the_numbers_that_a_denial_carries(row: Any) -> None:
    if row.code is DenialCode.DUPLICATE_INTENT:  # never a decision: an intent has one already
        risk = engine()
        risk.on_event(intent())
        with pytest.raises(RejectedError, match="DUPLICATE_INTENT: intent_id=i-1: expected"):
            risk.on_event(intent("sell"))
        return
    found = DENIED[row.code]
    assert found is not None
    assert tuple(found.numbers) == row.numbers
    assert row.meaning.endswith(".")


LONG: dict[str, Any] = {"position_lots": 5_000}
RULES: dict[DenialCode, dict[str, Any]] = {
    DenialCode.HALTED: {"state": TradingState.HALTED.value},
    DenialCode.REDUCING: {"state": TradingState.REDUCING.value},
    DenialCode.PER_ORDER_CAP: {"limits": replace(LIMITS, per_order_usd_cap=50)},
    DenialCode.POSITION_CAP: {"limits": replace(LIMITS, position_usd_cap=300)},
    DenialCode.DAILY_LOSS_CAP: {"day_pnl_usd": -500.0},
    DenialCode.ORDER_RATE: {"rate_backlog_ns": 60 * NS_PER_S},
    DenialCode.PRICE_COLLAR: {"buy_limit": 110.0, "sell_limit": 90.0},
    DenialCode.STALE_PRICE: {"now_ns": NOW + 6 * NS_PER_S},
    DenialCode.NO_PRICE: {"usd_per_quote": 0.0},
    DenialCode.MIN_NOTIONAL: {"min_notional": 101.0},
    DenialCode.LOT_SIZE: {"order_lots": 0},
    DenialCode.TICK_SIZE: {"buy_limit": 100.0, "sell_limit": 100.0, "limit_ticks": 0},
    DenialCode.UNKNOWN_SYMBOL: {"known_symbol": False},
}


@pytest.mark.parametrize("row", [row for row in catalogue() if row.code in RULES], ids=lambda row: row.code.value)
def test_a_rule_holds_for_exits_or_lets_them_pass_as_the_catalogue_says(row: Any) -> None:
    case = dict(RULES[row.code])
    caps, buy, sell = case.pop("limits", LIMITS), case.pop("buy_limit", None), case.pop("sell_limit", None)

    def answer(order: OrderIntent) -> DenialCode | None:
        inputs = INPUTS._replace(**({"order_lots": round(order.qty * 1_000)} | LONG | case))
        refusal = first_denial(order, inputs, caps)
        return None if refusal is None else refusal.code

    assert answer(intent("buy", 1, buy)) is row.code
    assert answer(intent("sell", 1, sell)) is (row.code if row.holds_for_exits else None)


def test_every_rule_that_decides_is_tried_with_an_exit() -> None:
    assert set(RULES) == set(DenialCode) - {DenialCode.DUPLICATE_INTENT}  # which is told before any rule is asked


@pytest.mark.parametrize(
    ("changes", "side", "qty", "passes"),
    [
        pytest.param({"feed": "reconnecting"}, "sell", 5, True, id="a close while the feed is down"),
        pytest.param({"feed": "stale"}, "sell", 5.001, False, id="a lot more than the position: it would turn it"),
        pytest.param({"feed": "stale", "open_sell_lots": 1}, "sell", 5, False, id="a lot of it is being sold already"),
        pytest.param({"feed": "stale", "position_lots": -5_000}, "buy", 5, True, id="a short is closed by a buy"),
        pytest.param({"feed": "stale", "position_lots": 0}, "sell", 1, False, id="flat: nothing to reduce"),
    ],
)
def test_without_a_fresh_price_only_what_reduces_the_position_passes(
    changes: dict[str, Any], side: str, qty: float, passes: bool
) -> None:
    assert code(intent(side, qty), **(LONG | changes)) is (None if passes else DenialCode.STALE_PRICE)


@pytest.mark.parametrize(("limit", "allowed"), [(0.315, True), (0.3150001, False)])
def test_a_limit_exactly_at_the_collar_passes_whatever_floats_make_of_the_distance(limit: float, allowed: bool) -> None:
    # 0.315 is 500 bps above 0.3; the floats say 500.0000000000004.
    order = intent("buy", 100, limit)

    assert code(order, ref_price=0.3) is (None if allowed else DenialCode.PRICE_COLLAR)


@pytest.mark.parametrize("currency", ["USD", "USDT", "USDC", "FDUSD", "TUSD", "BUSD", "DAI"])
def test_dollars_and_their_stablecoins_count_one_to_one_and_take_no_rate(currency: str) -> None:
    symbol = f"BTC/{currency}"
    risk = RiskEngine(Instruments([Instrument(symbol, Decimal("0.01"), Decimal("0.001"))]), LIMITS)
    risk.on_event(trade(symbol=symbol))

    assert decision_in(risk.on_event(intent(symbol=symbol))).inputs["usd_per_quote"] == 1.0
    with pytest.raises(ConfigError, match=rf"risk\.usd_rates\.{currency}: expected no rate"):
        limits(usd_rates={currency: 0.99})


def test_a_currency_that_only_looks_like_dollars_needs_a_rate() -> None:
    symbol = "BTC/USDX"
    risk = RiskEngine(Instruments([Instrument(symbol, Decimal("0.01"), Decimal("0.001"))]), LIMITS)
    risk.on_event(trade(symbol=symbol))

    assert decision_in(risk.on_event(intent(symbol=symbol))).code is DenialCode.NO_PRICE


def test_limits_take_the_dollar_rates_of_the_configuration() -> None:
    section = SimpleNamespace(**{name: getattr(LIMITS, name) for name in CAP_NAMES}, usd_rates={"BTC": 20_000.0})

    assert RiskLimits.of(section) == limits(usd_rates={"BTC": 20_000.0})


def test_a_decision_carries_every_input_and_every_cap() -> None:
    decision = decide(intent(), INPUTS, LIMITS)
    assert tuple(decision.inputs) == INPUT_NAMES
    assert decision.caps == {
        "per_order_usd_cap": 1_000.0,
        "daily_loss_usd_cap": 500.0,
        "orders_per_min_cap": 60.0,
        "position_usd_cap": 2_000.0,
        "price_collar_bps": 500.0,
        "max_price_age_ms": 5_000.0,
    }


def limits(**changes: Any) -> RiskLimits:
    return replace(LIMITS, **changes)


@pytest.mark.parametrize("name", ["per_order_usd_cap", "orders_per_min_cap", "max_price_age_ms"])
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan")])
def test_a_cap_must_be_a_finite_number_above_zero(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"risk.{name}: expected a finite number above 0"):
        limits(**{name: value})


def test_orders_per_minute_must_be_whole() -> None:
    with pytest.raises(ConfigError, match="expected a whole number"):
        limits(orders_per_min_cap=1.5)


def test_a_dollar_rate_must_be_a_finite_number_above_zero() -> None:
    with pytest.raises(ConfigError, match=r"risk\.usd_rates\.BTC"):
        limits(usd_rates={"BTC": 0.0})


def test_caps_that_are_not_a_decisions_are_refused_by_name() -> None:
    with pytest.raises(ContractError, match=r"RiskDecision.caps: expected .*, got banana"):
        RiskLimits.from_caps({"banana": 1.0})


def test_inputs_that_are_not_a_decisions_are_refused_by_name() -> None:
    recorded = INPUTS.to_dict()
    del recorded["ref_price"]
    with pytest.raises(ContractError, match=r"RiskDecision.inputs: missing or unknown ref_price"):
        RiskInputs.from_dict(recorded)
