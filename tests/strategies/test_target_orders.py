"""Aiming at a position: one order under way at most, and the order that is missing once it has ended."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from core import ids
from core.contracts import Contract, DenialCode, FillEvent, OHLCVBar, OrderCancel, OrderIntent, RiskDecision, Side
from core.errors import ConfigError
from risk import catalogue
from strategies.orders.open_orders import OpenOrder
from strategies.sampling import PriceSampler
from strategies.target_orders import Direction, Stage, stage_of
from tests.support.strategy_cases import (
    SYMBOL,
    Aims,
    denial_of,
    entry,
    fill_of,
    manager_of,
    strategy_in,
    trade,
    update_of,
)

Answers = list[OrderIntent | OrderCancel]


class Desk:
    """One aiming strategy as it is hosted; ``aim`` and ``tell`` give what it answers."""

    def __init__(self, **params: Any) -> None:
        self.entry = entry(Aims, id="s", params={"qty": 1.0} | params)
        self.manager = manager_of(self.entry)
        if self.manager.failures:
            raise ConfigError(self.manager.failures["s"])
        self.number = 0

    @property
    def context(self) -> Any:
        return strategy_in(self.manager, "s").context

    @property
    def held(self) -> float:
        return float(self.context.positions[SYMBOL].qty)

    def aim(self, direction: Direction, price: float = 7.0) -> Answers:
        self.number += 1
        strategy_in(self.manager, "s").wanted = (direction, price)
        return self.tell(trade(self.number, price))

    def tell(self, event: Contract) -> Answers:
        answers = self.manager.on_event(event)
        assert self.manager.status()[0].last_error == ""
        return [answer for answer in answers if isinstance(answer, OrderIntent | OrderCancel)]

    def open(self, direction: Direction, price: float = 7.0) -> OrderIntent:
        """Aim where one order is missing."""
        (order,) = self.aim(direction, price)
        assert isinstance(order, OrderIntent)
        return order


def sent(answers: Answers) -> list[float | str]:
    """Signed quantities of orders, order ids of cancels."""
    return [
        a.order_id if isinstance(a, OrderCancel) else (a.qty if a.side == "buy" else -a.qty) for a in answers
    ]  # fmt: skip


def test_the_first_signal_opens_and_the_opposite_one_turns_the_position_round() -> None:
    desk = Desk()
    opening = desk.open(1)
    desk.tell(fill_of(opening))

    assert sent([opening]) == [1.0]
    assert sent(desk.aim(-1)) == [-2.0]


def test_an_order_that_leads_to_the_aim_is_left_alone() -> None:
    desk = Desk(order_type="limit")
    opening = desk.open(1)

    assert desk.aim(1, price=6.5) == []
    assert desk.tell(fill_of(opening, qty=0.3)) == []
    assert desk.aim(1) == []


def test_a_resting_order_that_leads_elsewhere_is_canceled_once_and_nothing_is_added_to_it() -> None:
    desk = Desk(order_type="limit", qty=0.8)
    desk.tell(fill_of(desk.open(1)))
    selling = desk.open(-1)
    assert sent([selling]) == [-1.6]

    canceled = desk.aim(1)

    assert sent(canceled) == [update_of(selling).order_id]
    assert desk.aim(1) == []
    assert desk.tell(fill_of(selling, qty=0.1, count=2)) == []
    assert sent(desk.tell(update_of(selling, "canceled", filled_qty=0.1))) == [0.1]


def test_what_crosses_the_cancel_is_made_good_by_the_order_after_it() -> None:
    desk = Desk(order_type="limit", qty=0.8)
    selling = desk.open(-1, price=8.0)
    desk.aim(1, price=6.0)

    (buying,) = desk.tell(fill_of(selling))

    assert isinstance(buying, OrderIntent)
    assert (buying.side, buying.qty, buying.limit_price) == ("buy", 1.6, 6.0)
    assert desk.tell(update_of(selling, "filled", filled_qty=0.8)) == []


def test_a_canceled_order_whose_fills_are_yet_to_arrive_is_waited_for() -> None:
    desk = Desk()
    first = desk.open(1)
    desk.aim(-1)

    assert desk.tell(update_of(first, "canceled", filled_qty=0.4)) == []
    assert sent(desk.tell(fill_of(first, qty=0.4))) == [-1.4]


def test_the_aim_that_counts_is_the_last_one_when_the_order_ends() -> None:
    desk = Desk()
    first = desk.open(1)
    desk.aim(-1)
    desk.aim(1)

    assert sent(desk.tell(update_of(first, "canceled"))) == [1.0]


def test_an_aim_that_is_met_when_the_order_ends_takes_no_order() -> None:
    desk = Desk()
    first = desk.open(1)
    desk.aim(0)

    assert desk.tell(update_of(first, "canceled")) == []


@pytest.mark.parametrize(
    "came_to_nothing", [denial_of, lambda i: update_of(i, "rejected"), lambda i: update_of(i, "canceled")]
)
def test_an_order_that_somebody_else_ended_is_placed_again_at_the_next_signal_only(came_to_nothing: Any) -> None:
    desk = Desk()
    first = desk.open(1)

    assert desk.tell(came_to_nothing(first)) == []
    second = desk.open(1)

    assert sent([second]) == [1.0]
    assert second.intent_id != first.intent_id


def denied(order: OrderIntent, code: DenialCode) -> RiskDecision:
    return dataclasses.replace(denial_of(order), code=code, decision_id=ids.decision_id(order.intent_id))


EXITS_PASS = [row.code for row in catalogue() if not row.holds_for_exits]


@pytest.mark.parametrize("code", [DenialCode.PER_ORDER_CAP, *EXITS_PASS])
def test_a_reversal_that_is_denied_for_what_it_opens_becomes_a_close(code: DenialCode) -> None:
    desk = Desk()
    desk.tell(fill_of(desk.open(1)))
    reversal = desk.open(-1)

    closing = desk.tell(denied(reversal, code))

    assert sent([reversal, *closing]) == [-2.0, -1.0]
    desk.tell(fill_of(closing[0]))
    assert (desk.held, sent(desk.aim(-1))) == (0.0, [-1.0])


def test_a_close_that_is_denied_is_not_tried_again() -> None:
    desk = Desk()
    desk.tell(fill_of(desk.open(1)))
    (closing,) = desk.tell(denied(desk.open(-1), DenialCode.PER_ORDER_CAP))
    assert isinstance(closing, OrderIntent)

    assert desk.tell(denied(closing, DenialCode.PER_ORDER_CAP)) == []


@pytest.mark.parametrize("code", [DenialCode.HALTED, DenialCode.NO_PRICE, DenialCode.ORDER_RATE])
def test_a_reversal_that_is_denied_whatever_its_size_is_dropped(code: DenialCode) -> None:
    desk = Desk()
    desk.tell(fill_of(desk.open(1)))

    assert desk.tell(denied(desk.open(-1), code)) == []


def test_without_shorts_there_is_no_reversal_to_break_up() -> None:
    desk = Desk(allow_short=False)
    desk.tell(fill_of(desk.open(1)))

    assert desk.tell(denied(desk.open(-1), DenialCode.PER_ORDER_CAP)) == []


def test_an_opening_that_is_denied_leaves_nothing_to_close() -> None:
    desk = Desk()

    assert desk.tell(denied(desk.open(-1), DenialCode.POSITION_CAP)) == []


def test_a_denial_of_the_order_that_was_to_be_canceled_is_its_end_like_any_other() -> None:
    desk = Desk()
    first = desk.open(1)
    desk.aim(-1)

    (second,) = desk.tell(denial_of(first))
    assert isinstance(second, OrderIntent)

    assert sent([second]) == [-1.0]
    assert desk.tell(denial_of(second)) == []


def test_after_a_partial_fill_and_a_cancel_only_the_rest_is_missing() -> None:
    desk = Desk()
    first = desk.open(1)

    desk.tell(fill_of(first, qty=0.3))
    desk.tell(update_of(first, "canceled", filled_qty=0.3))

    assert sent(desk.aim(1)) == [0.7]


def test_without_shorts_a_sell_signal_means_flat() -> None:
    desk = Desk(allow_short=False)
    assert desk.aim(-1) == []
    desk.tell(fill_of(desk.open(1)))

    assert sent(desk.aim(-1)) == [-1.0]


def test_a_limit_order_stands_on_the_grid_at_a_price_no_worse_than_the_signals() -> None:
    buy, sell = Desk(order_type="limit").open(1, 7.00056), Desk(order_type="limit").open(-1, 7.00056)

    assert (buy.type, buy.limit_price, sell.limit_price) == ("limit", 7.0, 7.001)
    assert Desk().open(1) == OrderIntent(
        "s", SYMBOL, "buy", "market", 1.0, intent_id=buy.intent_id, ts_local_ns=trade(1).ts_ns
    )


def test_what_others_filled_for_the_strategy_counts_too() -> None:
    desk = Desk()
    desk.tell(FillEvent("o-other", SYMBOL, "buy", 0.4, 7.0, 0.0, 5, strategy_id="s"))

    assert sent(desk.aim(1)) == [0.6]


def test_a_trade_that_is_delivered_twice_is_answered_once() -> None:
    desk = Desk()
    desk.open(1)
    strategy_in(desk.manager, "s").wanted = (-1, 7.0)

    assert desk.tell(trade(desk.number)) == []


def test_a_second_aim_on_what_looks_like_the_same_trade_is_made_good_at_the_next_word_of_the_order() -> None:
    desk = Desk(order_type="limit")
    resting = desk.open(1)
    strategy_in(desk.manager, "s").wanted = (-1, 7.0)
    desk.tell(trade(desk.number))  # as two trades of one price and time without ids look

    assert sent(desk.tell(update_of(resting, "open"))) == [update_of(resting).order_id]
    assert sent(desk.tell(update_of(resting, "open"))) == []


def test_orders_of_before_a_restart_are_canceled_before_anything_is_added() -> None:
    desk, later = Desk(order_type="limit"), Desk(order_type="limit")
    resting = desk.open(1)
    later.manager.recover(None, [resting])
    later.number = 1

    assert sent(later.aim(-1)) == [update_of(resting).order_id]
    assert sent(later.tell(update_of(resting, "canceled"))) == [-1.0]


async def test_a_hot_reload_keeps_the_aim_that_waits() -> None:
    desk = Desk(order_type="limit")
    resting = desk.open(1, price=6.0)
    desk.aim(-1, price=8.0)
    before = strategy_in(desk.manager, "s")

    desk.manager.install({"strategies": [desk.entry]})
    (order,) = desk.tell(update_of(resting, "canceled"))

    assert strategy_in(desk.manager, "s") is not before
    assert isinstance(order, OrderIntent)
    assert (order.side, order.limit_price) == ("sell", 8.0)


async def test_an_order_that_leads_elsewhere_after_a_reload_is_canceled_at_the_next_word_of_it() -> None:
    desk = Desk(order_type="limit")
    resting = desk.open(1)

    desk.manager.install({"strategies": [entry(Aims, id="s", params={"qty": 2.0, "order_type": "limit"})]})

    assert sent(desk.tell(update_of(resting, "open"))) == [update_of(resting).order_id]
    assert sent(desk.tell(update_of(resting, "canceled"))) == [2.0]


def test_a_quantity_below_one_lot_cannot_be_configured() -> None:
    with pytest.raises(ConfigError, match=r"params\.qty: expected at least one lot of ATOM/USDT, 0\.01, got 0\.001"):
        Desk(qty=0.001)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"qty": 0}, r"Expected `float` > 0.0 - at `\$.qty`"),
        ({"qty": "1"}, r"got `str` - at `\$.qty`"),
        ({"order_type": "stop"}, r"Invalid enum value 'stop'"),
        ({"quantity": 1.0}, r"unknown field `quantity`; expected qty, order_type, allow_short, period_s"),
    ],
)
def test_parameters_are_refused_by_name_with_what_was_expected(params: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        Desk(**params)


def test_trades_are_sampled_once_a_period_and_bars_each_time() -> None:
    sampler, every = PriceSampler(period_s=5.0), PriceSampler()
    bar = OHLCVBar(SYMBOL, "1m", 0, 1, 6.0, 6.0, 6.0, 6.0, 1.0)

    assert [n for n in range(1, 20) if sampler.price(trade(n)) is not None] == [1, 5, 10, 15]
    assert sampler.price(trade(20, symbol="BTC/USDT")) == 7.0
    assert sampler.price(trade(3)) is None
    assert sampler.price(bar) == sampler.price(bar) == 6.0
    assert [every.price(trade(n)) for n in (1, 2)] == [7.0, 7.0]
    assert every.price(RiskDecision("i", True, "", {})) is None


@pytest.mark.parametrize(
    "path",
    [
        "strategies.samples.sma_cross.SmaCross",
        "strategies.samples.trendline_break.TrendlineBreak",
        "strategies.samples.rsi_tema_bb.RsiTemaBb",
        "strategies.kernels.sma_cross.SmaCross",
    ],
)
def test_bars_of_two_timeframes_are_refused_by_all_that_look_at_prices_alone(path: str) -> None:
    strategy = strategy_in(manager_of(entry(path, id="s", params={})), "s")
    minute, hour = (OHLCVBar(SYMBOL, each, 0, 1, 6.0, 6.0, 6.0, 6.0, 1.0) for each in ("1m", "1h"))

    strategy.on_event(minute)

    with pytest.raises(ConfigError, match=r"expected one timeframe, 1m as before, got 1h too; .* md\.ohlcv\.1m"):
        strategy.on_event(hour)
    strategy.on_event(minute)


def order(side: Side, open_lots: int, **changes: Any) -> OpenOrder:
    return OpenOrder("i", "o", "s", SYMBOL, side, 1.0, None, open_lots, **changes)


@pytest.mark.parametrize(
    ("missing", "under_way", "stage"),
    [
        (0, [], Stage.REACHED),
        (3, [], Stage.MISSING),
        (3, [order("buy", 3)], Stage.APPROACHING),
        (-3, [order("sell", 3)], Stage.APPROACHING),
        (3, [order("buy", 3, ended=True)], Stage.APPROACHING),
        (3, [order("buy", 2)], Stage.CLEARING),
        (3, [order("sell", 3)], Stage.CLEARING),
        (0, [order("buy", 1)], Stage.CLEARING),
        (3, [order("buy", 3, cancel_requested=True)], Stage.CLEARING),
        (3, [order("buy", 1), order("buy", 2)], Stage.CLEARING),
    ],
)
def test_the_stage_follows_from_what_is_missing_and_what_is_under_way(
    missing: int, under_way: list[OpenOrder], stage: Stage
) -> None:
    assert stage_of(missing, under_way) is stage
