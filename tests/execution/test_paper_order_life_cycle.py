"""Whatever orders, cancels, trades, halts and restarts come: every order lives a legal life, the books always agree.

An observer that sees only the venue's messages, as a strategy does, folds them and checks each step.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import ClassVar, Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from core import ids
from core.contracts import (
    TERMINAL,
    Contract,
    FillEvent,
    KillSwitchEvent,
    OrderCancel,
    OrderEvent,
    OrderUpdate,
    PositionSnapshot,
    Side,
    TradeEvent,
)
from tests.support.paper_orders import INSTRUMENTS, order, trade, venue

LEGAL: Final = {
    None: {"open", "rejected", "canceled"},
    "open": {"partially_filled", "filled", "canceled"},
    "partially_filled": {"partially_filled", "filled", "canceled"},
}
sides = st.sampled_from(["buy", "sell"])
symbols = st.sampled_from(["BTC/USDT", "ETH/USDT"])
prices = st.integers(95, 105).map(float)
sizes = st.integers(1, 40).map(lambda n: n / 4)


class Observer:
    """Orders, fills and positions as the messages tell them."""

    def __init__(self) -> None:
        self.orders: dict[str, OrderUpdate] = {}
        self.filled: Counter[str] = Counter()  # in lots
        self.fill_ids: set[str] = set()
        self.lots: Counter[str] = Counter()
        self.cash = Fraction(10_000)

    def see(self, answers: list[Contract]) -> None:
        """Fold the answers to one event."""
        for position, answer in enumerate(answers):
            if isinstance(answer, OrderUpdate):
                self._update(answer)
            elif isinstance(answer, FillEvent):
                self._fill(answer)
                assert [type(event) for event in answers[position + 1 : position + 3]] == [
                    OrderUpdate,
                    PositionSnapshot,
                ]
            else:
                assert isinstance(answer, PositionSnapshot)
                assert INSTRUMENTS[answer.symbol].lots(abs(answer.qty)) == abs(self.lots[answer.symbol])

    def _update(self, update: OrderUpdate) -> None:
        before = self.orders.get(update.order_id)
        assert update.status in LEGAL.get(before.status if before else None, set())
        lots = INSTRUMENTS[update.symbol].lots(update.filled_qty)
        assert lots == self.filled[update.order_id]
        assert before is None or before.filled_qty <= update.filled_qty <= update.qty
        assert (update.status == "filled") == (update.filled_qty == update.qty)
        assert (update.avg_price > 0) == (update.filled_qty > 0)
        if update.limit_price is not None and update.filled_qty:
            assert (update.avg_price - update.limit_price) * (1 if update.side == "buy" else -1) <= 1e-9
        self.orders[update.order_id] = update

    def _fill(self, fill: FillEvent) -> None:
        known = self.orders[fill.order_id]
        assert known.status in ("open", "partially_filled")
        assert fill.fill_id not in self.fill_ids
        self.fill_ids.add(fill.fill_id)
        instrument = INSTRUMENTS[fill.symbol]
        lots, sign = instrument.lots(fill.qty), 1 if fill.side == "buy" else -1
        self.filled[fill.order_id] += lots
        self.lots[fill.symbol] += sign * lots
        notional = lots * instrument.ticks(fill.price) * Fraction(instrument.money_unit)
        fee = Fraction(round(fill.fee * 10**8), 10**8)
        rate = Fraction(instrument.taker_fee if fill.liquidity == "taker" else instrument.maker_fee)
        assert abs(fee - notional * rate) <= Fraction(1, 2 * 10**8)
        self.cash -= sign * notional + fee


class VenueMachine(RuleBasedStateMachine):
    """One venue, its ledger and its observer."""

    model: ClassVar[str]
    placed = Bundle("placed")

    def __init__(self) -> None:
        super().__init__()
        self.paper = venue(self.model)
        self.observer = Observer()
        self.ledger: list[tuple[Contract | None, list[Contract]]] = []
        self.now = 1
        self.count = 0

    def give(self, event: Contract) -> list[Contract]:
        answers = list(self.paper.on_event(event))
        if not isinstance(event, TradeEvent):
            self.ledger.append((event, answers))
        elif answers:
            self.ledger.append((None, answers))
        self.observer.see(answers)
        return answers

    @rule(gap=st.integers(0, 2), symbol=symbols, side=sides, price=prices, qty=sizes)
    def trades(self, gap: int, symbol: str, side: Side, price: float, qty: float) -> None:
        self.now += gap
        self.give(trade(price, qty, side, self.now, symbol))

    @rule(target=placed, symbol=symbols, side=sides, qty=sizes, limit=st.none() | prices)
    def places(self, symbol: str, side: Side, qty: float, limit: float | None) -> OrderEvent:
        self.count += 1
        event = order(side, qty, limit, self.now, str(self.count), symbol)
        self.give(event)
        assert event.order_id in self.observer.orders
        return event

    @rule(event=placed)
    def repeats(self, event: OrderEvent) -> None:
        assert self.give(event) == []

    @rule(event=placed)
    def cancels(self, event: OrderEvent) -> None:
        self.give(OrderCancel(event.order_id, event.symbol, "s", self.now))
        assert self.observer.orders[event.order_id].done

    @rule(target=placed, qty=sizes, limit=prices)
    def cancels_before_the_order_comes(self, qty: float, limit: float) -> OrderEvent:
        self.count += 1
        event = order("buy", qty, limit, self.now, str(self.count))
        assert self.give(OrderCancel(event.order_id, event.symbol, "s", self.now)) == []
        self.give(event)
        assert self.observer.orders[event.order_id].done
        assert self.observer.filled[event.order_id] == 0
        return event

    @rule(tripped=st.booleans())
    def halts_or_resumes(self, tripped: bool) -> None:
        self.give(KillSwitchEvent(tripped, "file", self.now))
        assert not tripped or all(update.done for update in self.observer.orders.values())

    @rule()
    def restarts_from_its_ledger(self) -> None:
        fresh = venue(self.model)
        for cause, answers in self.ledger:
            fresh.recover(cause, answers)
        assert fresh.snapshot() == self.paper.snapshot()
        self.paper = fresh

    @rule()
    def restarts_from_a_snapshot(self) -> None:
        fresh = venue(self.model)
        fresh.load_snapshot(self.paper.snapshot())
        assert fresh.snapshot() == self.paper.snapshot()
        self.paper = fresh

    @invariant()
    def positions_are_the_sum_of_fills(self) -> None:
        for symbol in INSTRUMENTS:
            assert self.paper.position(symbol).lots == self.observer.lots[symbol]

    @invariant()
    def cash_is_what_fills_moved(self) -> None:
        assert self.paper.account().cash == float(self.observer.cash)

    @invariant()
    def open_orders_are_those_that_said_so(self) -> None:
        known = {plain["order"]["order_id"] for plain in self.paper.snapshot()["orders"]["open"]}
        assert known == {name for name, update in self.observer.orders.items() if update.status not in TERMINAL}

    @invariant()
    def fills_are_numbered_without_a_gap(self) -> None:
        counts = Counter(fill_id.rpartition("-")[0] for fill_id in self.observer.fill_ids)
        for event_id, update in self.observer.orders.items():
            number = counts[ids.fill_id(event_id, 1).rpartition("-")[0]]
            assert (number > 0) == (update.filled_qty > 0)
            assert number == 0 or ids.fill_id(event_id, number) in self.observer.fill_ids


class LastTradeMachine(VenueMachine):
    model = "last_trade"


class TradeFlowMachine(VenueMachine):
    model = "trade_flow"


TestLastTradeVenue = LastTradeMachine.TestCase
TestLastTradeVenue.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestTradeFlowVenue = TradeFlowMachine.TestCase
TestTradeFlowVenue.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
