"""Aiming at a position: the order that is missing and never more, whatever became of those before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids
from core.bus import MemoryBus
from core.contracts import FillEvent, OHLCVBar, OrderIntent, OrderUpdate, RiskDecision
from core.errors import ConfigError
from strategies.books import StrategyBooks
from strategies.context import StrategyContext
from strategies.entries import params_of
from strategies.sampling import PriceSampler
from strategies.target_orders import PENDING_LIMIT, TargetOrders, TargetParams
from tests.strategy_cases import INSTRUMENTS, SYMBOL, fill_of, trade

Direction = Literal[1, 0, -1]


class Desk:
    """Orders of one strategy with the books behind them."""

    def __init__(self, **params: Any) -> None:
        self.books = StrategyBooks(INSTRUMENTS)
        self.context = StrategyContext(
            "s", MemoryBus(), self.books.view("s", [SYMBOL]), {}, {"qty": 1.0} | params, (SYMBOL,), INSTRUMENTS
        )
        self.orders = TargetOrders(self.context, params_of(self.context, TargetParams))
        self.number = 0

    def aim(self, direction: Direction, price: float = 7.0) -> OrderIntent | None:
        self.number += 1
        intents = self.orders.aim(trade(self.number), SYMBOL, direction, price)
        return intents[0] if intents else None

    def fill(self, intent: OrderIntent, qty: float | None = None, count: int = 1) -> None:
        fill = fill_of(intent, qty=qty, count=count)
        self.books.book(fill)
        self.orders.settle(fill)

    def deny(self, intent: OrderIntent) -> None:
        self.orders.settle(RiskDecision(intent.intent_id, False, "halted", {}, strategy_id="s"))

    def cancel(self, intent: OrderIntent, filled: float = 0.0) -> None:
        order = ids.order_id(intent.intent_id)
        update = OrderUpdate(
            order, intent.intent_id, "s", "paper", SYMBOL, intent.side, intent.type, intent.qty, intent.limit_price,
            "canceled", filled, 7.0, 9,
        )  # fmt: skip
        self.orders.settle(update)


def signed(intent: OrderIntent | None) -> float:
    assert intent is not None
    return intent.qty if intent.side == "buy" else -intent.qty


def test_the_first_signal_opens_and_the_opposite_one_turns_the_position_round() -> None:
    desk = Desk()
    opening = desk.aim(1)
    assert opening is not None
    desk.fill(opening)

    assert signed(opening) == 1.0
    assert signed(desk.aim(-1)) == -2.0


def test_an_order_under_way_counts_as_done() -> None:
    desk = Desk()

    assert signed(desk.aim(1)) == 1.0
    assert desk.aim(1) is None
    assert signed(desk.aim(-1)) == -2.0


@pytest.mark.parametrize("ending", [Desk.deny, Desk.cancel])
def test_an_order_that_came_to_nothing_is_placed_again_at_the_next_signal(
    ending: Callable[[Desk, OrderIntent], None],
) -> None:
    desk = Desk()
    first = desk.aim(1)
    assert first is not None

    ending(desk, first)
    second = desk.aim(1)

    assert signed(second) == 1.0
    assert second is not None
    assert second.intent_id != first.intent_id


def test_after_a_partial_fill_and_a_cancel_only_the_rest_is_missing() -> None:
    desk = Desk()
    first = desk.aim(1)
    assert first is not None

    desk.fill(first, qty=0.3)
    desk.cancel(first, filled=0.3)

    assert signed(desk.aim(1)) == 0.7


def test_without_shorts_a_sell_signal_means_flat() -> None:
    desk = Desk(allow_short=False)
    assert desk.aim(-1) is None
    opening = desk.aim(1)
    assert opening is not None
    desk.fill(opening)

    assert signed(desk.aim(-1)) == -1.0


def test_a_limit_order_stands_on_the_grid_at_a_price_no_worse_than_the_signals() -> None:
    buy, sell = Desk(order_type="limit").aim(1, 7.00056), Desk(order_type="limit").aim(-1, 7.00056)

    assert buy is not None
    assert sell is not None
    assert (buy.type, buy.limit_price, sell.limit_price) == ("limit", 7.0, 7.001)
    assert Desk().aim(1) == OrderIntent(
        "s", SYMBOL, "buy", "market", 1.0, intent_id=buy.intent_id, ts_local_ns=trade(1).ts_ns
    )


def test_what_others_filled_for_the_strategy_counts_too() -> None:
    desk = Desk()
    desk.books.book(FillEvent("o-other", SYMBOL, "buy", 0.4, 7.0, 0.0, 5, strategy_id="s"))

    assert signed(desk.aim(1)) == 0.6


def test_orders_that_never_end_are_limited() -> None:
    desk = Desk()

    placed = [desk.aim(1 if number % 2 else -1) for number in range(PENDING_LIMIT + 5)]

    assert sum(intent is not None for intent in placed) == PENDING_LIMIT


def test_a_quantity_below_one_lot_is_refused_and_one_off_the_grid_is_rounded_down() -> None:
    assert signed(Desk(qty=0.119).aim(1)) == 0.11
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


STEPS = st.lists(st.tuples(st.sampled_from(["aim", "fill", "deny", "cancel"]), st.integers(-1, 40)), max_size=60)


@given(STEPS)
def test_each_signal_commits_exactly_its_target_whatever_became_of_the_orders_before(
    steps: list[tuple[str, int]],
) -> None:
    desk = Desk()
    under_way: list[tuple[OrderIntent, int]] = []  # with the signed lots that are still open
    for count, (what, number) in enumerate(steps, 1):
        if what == "aim":
            direction: Direction = -1 if number < 0 else 1 if number else 0
            if (intent := desk.aim(direction)) is not None:
                under_way.append((intent, round(signed(intent) * 100)))
                assert sum(lots for _, lots in under_way) + _held(desk) == direction * 100
        elif under_way:
            intent, lots = under_way.pop(number % len(under_way))
            if what == "fill":
                part = min(abs(lots), abs(number) + 1)
                desk.fill(intent, qty=part / 100, count=count)
                if rest := lots - (part if lots > 0 else -part):
                    under_way.append((intent, rest))
            else:
                (desk.deny if what == "deny" else desk.cancel)(intent)


def _held(desk: Desk) -> int:
    return round(desk.context.positions[SYMBOL].qty * 100)


def test_trades_are_sampled_once_a_period_and_bars_each_time() -> None:
    sampler, every = PriceSampler(period_s=5.0), PriceSampler()
    bar = OHLCVBar(SYMBOL, "1m", 0, 1, 6.0, 6.0, 6.0, 6.0, 1.0)

    assert [n for n in range(1, 20) if sampler.price(trade(n)) is not None] == [1, 5, 10, 15]
    assert sampler.price(trade(20, symbol="BTC/USDT")) == 7.0
    assert sampler.price(trade(3)) is None
    assert sampler.price(bar) == sampler.price(bar) == 6.0
    assert [every.price(trade(n)) for n in (1, 2)] == [7.0, 7.0]
    assert every.price(RiskDecision("i", True, "", {})) is None
