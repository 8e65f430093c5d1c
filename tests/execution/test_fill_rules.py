"""The fill rules as tables: a line of story, orders and events, what fills. Prices in ticks, sizes in lots."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pytest

from core.contracts import Liquidity, Side
from core.costs import BarRange
from execution.fill_models import WorkingOrder, fill_model
from execution.matching import MatchingCore


class Order(NamedTuple):
    """Placed between the trades; ``limit`` None is a market order."""

    side: Side
    lots: int
    limit: int | None = None
    name: str = "a"


class Trade(NamedTuple):
    """``buy``: a buyer took the ask; ``sell``: a seller hit the bid."""

    taker: Side
    ticks: int
    lots: int


class Bar(NamedTuple):
    """Low, high, close."""

    low: int
    high: int
    close: int


class Cancel(NamedTuple):
    """Takes an order back."""

    name: str


class Fill(NamedTuple):
    """Lots at ticks, in the row of events (counted from 0) that caused it."""

    event: int
    lots: int
    ticks: int
    liquidity: Liquidity
    name: str = "a"


Event = Order | Trade | Bar | Cancel
Story = tuple[str, list[Event], list[Fill]]


def run(model: str, parameters: dict[str, Any], events: list[Event]) -> list[Fill]:
    """Every event one nanosecond after the one before."""
    core, seen = MatchingCore(fill_model(model, parameters)), []
    for step, event in enumerate(events):
        match event:
            case Order(side, lots, limit, name):
                executions = core.place(WorkingOrder(name, side, lots, limit, step))
            case Trade(taker, ticks, lots):
                executions = core.on_trade(ticks, lots, taker, step)
            case Bar(low, high, close):
                executions = core.on_bar(BarRange(low, high, close), step - 1, step)
            case Cancel(name):
                core.cancel(name)
                executions = []
        seen += [Fill(step, e.lots, e.ticks, e.liquidity, e.order_id) for e in executions]
    return seen


LAST_TRADE: list[Story] = [
    (
        "a market buy fills in full at the last price, however little traded there",
        [Trade("sell", 100, 1), Order("buy", 50)],
        [Fill(1, 50, 100, "taker")],
    ),
    (
        "nothing has traded yet: the market order waits, then fills at the first trade",
        [Order("sell", 5), Trade("buy", 100, 1), Trade("buy", 101, 1)],
        [Fill(1, 5, 100, "taker")],
    ),
    (
        "a buy limit above the last price fills at once, at the last price",
        [Trade("buy", 100, 1), Order("buy", 5, 103)],
        [Fill(1, 5, 100, "taker")],
    ),
    (
        "a buy limit below the market rests until the price comes down, and fills at its limit",
        [Trade("buy", 100, 1), Order("buy", 5, 98), Trade("sell", 99, 9), Trade("sell", 97, 1)],
        [Fill(3, 5, 98, "maker")],
    ),
    (
        "touching the limit is enough, whoever took",
        [Trade("buy", 100, 1), Order("sell", 5, 102), Trade("sell", 102, 1)],
        [Fill(2, 5, 102, "maker")],
    ),
    (
        "one trade may fill several orders in full: the simple rule knows no volume",
        [Trade("buy", 100, 1), Order("buy", 5, 98, "a"), Order("buy", 7, 99, "b"), Trade("sell", 98, 1)],
        [Fill(3, 7, 99, "maker", "b"), Fill(3, 5, 98, "maker", "a")],
    ),
    (
        "a canceled order fills no more",
        [Trade("buy", 100, 1), Order("buy", 5, 98), Cancel("a"), Trade("sell", 90, 9)],
        [],
    ),
]

TRADE_FLOW: list[Story] = [
    (
        "a market buy pays what buyers pay after it, over as many trades as it needs",
        [Trade("buy", 100, 9), Order("buy", 10), Trade("buy", 101, 4), Trade("buy", 102, 5), Trade("buy", 103, 5)],
        [Fill(2, 4, 101, "taker"), Fill(3, 5, 102, "taker"), Fill(4, 1, 103, "taker")],
    ),
    (
        "a market buy takes no part in what sellers hit: that is the bid, not the ask",
        [Order("buy", 5), Trade("sell", 99, 9), Trade("buy", 100, 9)],
        [Fill(2, 5, 100, "taker")],
    ),
    (
        "a market sell gets what sellers get",
        [Order("sell", 5), Trade("buy", 101, 9), Trade("sell", 99, 3), Trade("sell", 98, 3)],
        [Fill(2, 3, 99, "taker"), Fill(3, 2, 98, "taker")],
    ),
    (
        "sellers trade through a resting buy: all of their volume would have met it first, at its limit",
        [Trade("buy", 100, 1), Order("buy", 10, 98), Trade("sell", 97, 6), Trade("sell", 96, 6)],
        [Fill(2, 6, 98, "maker"), Fill(3, 4, 98, "maker")],
    ),
    (
        "at the limit itself half of the volume belongs to the others in the queue",
        [Trade("buy", 100, 1), Order("buy", 10, 98), Trade("sell", 98, 7), Trade("sell", 98, 4)],
        [Fill(2, 3, 98, "maker"), Fill(3, 2, 98, "maker")],
    ),
    (
        "buyers taking asks do not fill a resting buy, even at its price",
        [Trade("buy", 100, 1), Order("buy", 10, 98), Trade("buy", 98, 9), Trade("buy", 97, 9)],
        [],
    ),
    (
        "a sell resting above the market fills when buyers come up to it",
        [
            Trade("sell", 100, 1),
            Order("sell", 4, 102),
            Trade("buy", 101, 9),
            Trade("sell", 102, 9),
            Trade("buy", 103, 9),
        ],
        [Fill(4, 4, 102, "maker")],
    ),
    (
        "an order at the last price joins the queue there",
        [Trade("sell", 100, 1), Order("buy", 4, 100), Trade("buy", 100, 9), Trade("sell", 100, 4)],
        [Fill(3, 2, 100, "maker")],
    ),
    (
        "a buy limit above the last price takes asks up to its limit, at their price",
        [Trade("sell", 100, 1), Order("buy", 9, 102), Trade("buy", 101, 3), Trade("buy", 102, 3)],
        [Fill(2, 3, 101, "taker"), Fill(3, 3, 102, "taker")],
    ),
    (
        "the ask runs away from a buy limit that was taking: it comes to rest and waits for sellers",
        [
            Trade("sell", 100, 1),
            Order("buy", 9, 102),
            Trade("buy", 101, 3),
            Trade("buy", 103, 3),
            Trade("buy", 102, 3),
            Trade("sell", 101, 4),
        ],
        [Fill(2, 3, 101, "taker"), Fill(5, 4, 102, "maker")],
    ),
    (
        "two orders share a trade: the better price first, and no lot twice",
        [
            Trade("buy", 100, 1),
            Order("buy", 5, 97, "low"),
            Order("buy", 5, 98, "high"),
            Trade("sell", 96, 8),
            Trade("sell", 96, 8),
        ],
        [Fill(3, 5, 98, "maker", "high"), Fill(3, 3, 97, "maker", "low"), Fill(4, 2, 97, "maker", "low")],
    ),
    (
        "at one price the earlier order comes first",
        [
            Trade("buy", 100, 1),
            Order("buy", 5, 98, "first"),
            Order("buy", 5, 98, "second"),
            Trade("sell", 97, 7),
        ],
        [Fill(3, 5, 98, "maker", "first"), Fill(3, 2, 98, "maker", "second")],
    ),
    (
        "an order that takes and one that rests on the other side share a trade too, the taker first",
        [Trade("sell", 100, 1), Order("sell", 5, 102, "rests"), Order("buy", 5, None, "takes"), Trade("buy", 103, 7)],
        [Fill(3, 5, 103, "taker", "takes"), Fill(3, 2, 102, "maker", "rests")],
    ),
]

QUEUE: list[Story] = [
    (
        "ten lots queue ahead: the first ten that trade at the limit are theirs",
        [Trade("buy", 100, 1), Order("buy", 5, 98), Trade("sell", 98, 8), Trade("sell", 98, 4), Trade("sell", 98, 2)],
        [Fill(3, 2, 98, "maker"), Fill(4, 2, 98, "maker")],
    ),
    (
        "a trade through the limit means that the queue there is gone",
        [Trade("buy", 100, 1), Order("buy", 5, 98), Trade("sell", 97, 2), Trade("sell", 98, 2)],
        [Fill(2, 2, 98, "maker"), Fill(3, 2, 98, "maker")],
    ),
    (
        "volume at other prices does not move the queue",
        [Trade("buy", 100, 1), Order("buy", 5, 98), Trade("sell", 99, 50), Trade("sell", 98, 10), Trade("sell", 98, 1)],
        [Fill(4, 1, 98, "maker")],
    ),
]

PARTICIPATION: list[Story] = [
    (
        "a quarter of each trade, rounded down to the lot",
        [Order("buy", 10), Trade("buy", 100, 11), Trade("buy", 100, 3), Trade("buy", 101, 40)],
        [Fill(1, 2, 100, "taker"), Fill(3, 8, 101, "taker")],
    ),
    (
        "the share is for all our orders together",
        [Order("buy", 3, None, "a"), Order("buy", 3, None, "b"), Trade("buy", 100, 16)],
        [Fill(2, 3, 100, "taker", "a"), Fill(2, 1, 100, "taker", "b")],
    ),
]

SLIPPAGE: list[Story] = [
    (
        "a hundred basis points above what buyers paid",
        [Order("buy", 5), Trade("buy", 1_001, 9)],
        [Fill(1, 5, 1_012, "taker")],  # 1011.01, up to the next tick
    ),
    ("and below what sellers got", [Order("sell", 5), Trade("sell", 1_001, 9)], [Fill(1, 5, 990, "taker")]),
    (
        "a limit order slips not",
        [Trade("sell", 1_000, 1), Order("buy", 5, 1_005), Trade("buy", 1_005, 9)],
        [Fill(2, 5, 1_005, "taker")],
    ),
]

BARS: list[Story] = [
    (
        "a market order placed before the bar fills at its close",
        [Order("buy", 5), Bar(95, 105, 101)],
        [Fill(1, 5, 101, "taker")],
    ),
    (
        "a buy fills at its limit when the low reaches it",
        [Order("buy", 5, 95), Bar(95, 105, 101)],
        [Fill(1, 5, 95, "maker")],
    ),
    ("a low one tick above a buy's limit fills nothing", [Order("buy", 5, 94), Bar(95, 105, 101)], []),
    (
        "a sell fills at its limit when the high reaches it",
        [Order("sell", 5, 105), Bar(95, 105, 101)],
        [Fill(1, 5, 105, "maker")],
    ),
    ("a high one tick below a sell's limit fills nothing", [Order("sell", 5, 106), Bar(95, 105, 101)], []),
]

MARKETABLE_BARS: list[Story] = [
    (
        "a buy limit above the last price takes at the close, like a market order",
        [Trade("buy", 100, 1), Order("buy", 5, 110), Bar(95, 105, 104)],
        [Fill(2, 5, 104, "taker")],
    ),
    (
        "its limit still binds when the bar closes beyond it",
        [Trade("buy", 100, 1), Order("sell", 5, 98), Bar(90, 101, 91)],
        [Fill(2, 5, 98, "taker")],
    ),
    (
        "when the price runs away before it could take, it rests",
        [Trade("buy", 100, 1), Order("buy", 5, 101), Bar(102, 109, 105), Bar(99, 106, 100)],
        [Fill(3, 5, 101, "maker")],
    ),
]

CASES = [
    *(("last_trade", {}, story) for story in LAST_TRADE),
    *(("trade_flow", {}, story) for story in TRADE_FLOW),
    *(("trade_flow", {"queue_lots": 10, "queue_fraction": 0.0}, story) for story in QUEUE),
    *(("trade_flow", {"participation": 0.25}, story) for story in PARTICIPATION),
    *(("trade_flow", {"slippage_bps": 100.0}, story) for story in SLIPPAGE),
    *((model, {}, story) for model in ("last_trade", "trade_flow") for story in BARS),
    *(("trade_flow", {}, story) for story in MARKETABLE_BARS),
]


@pytest.mark.parametrize(("model", "parameters", "story"), CASES, ids=[f"{m}: {s[0]}" for m, _, s in CASES])
def test_what_fills(model: Literal["last_trade", "trade_flow"], parameters: dict[str, Any], story: Story) -> None:
    _, events, expected = story

    assert run(model, parameters, events) == expected
