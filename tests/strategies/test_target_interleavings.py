"""Whatever fills, cancels, denials and updates do to each other: no overshoot, and in the end the aim is met."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from core import ids
from core.contracts import Contract, DenialCode, OrderCancel, OrderIntent
from strategies.manager import StrategyManager
from strategies.target_orders import Direction
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

LOTS = 100  # what ``qty`` of 1.0 is


@dataclass
class VenueOrder:
    """An order in the world outside: what the venue knows, whoever has been told of it."""

    intent: OrderIntent
    open_lots: int
    filled: int = 0
    fills: int = 0
    decided: bool = False

    @property
    def sign(self) -> int:
        return 1 if self.intent.side == "buy" else -1


@dataclass
class World:
    """Risk engine and venue at arm's length: their messages arrive later, decisions on a stream of their own."""

    held: int = 0  # at the venue, which may be ahead of what the strategy has heard
    number: int = 0
    aimed: Direction = 0
    dropped: bool = True
    orders: list[VenueOrder] = field(default_factory=list)
    cancels: list[OrderCancel] = field(default_factory=list)
    wire: deque[Contract] = field(default_factory=deque)
    denials: deque[Contract] = field(default_factory=deque)
    ledger: list[tuple[Contract | None, list[Contract]]] = field(default_factory=list)
    manager: StrategyManager = field(default_factory=lambda: manager_of(entry(Aims, id="s")))

    def tell(self, event: Contract, cause: Contract | None = None) -> None:
        answers = self.manager.on_event(event)
        self.ledger.append((cause, answers))
        assert self.manager.status()[0].last_error == ""
        for answer in answers:
            if isinstance(answer, OrderIntent):
                self.orders.append(VenueOrder(answer, round(answer.qty * LOTS)))
            elif isinstance(answer, OrderCancel):
                self.cancels.append(answer)
        assert len(strategy_in(self.manager, "s").context.orders) <= 1
        worst = [self.held + sum(o.sign * o.open_lots for o in self.orders if o.sign == sign) for sign in (1, -1)]
        assert max(map(abs, worst)) <= LOTS

    def aim(self, direction: Direction) -> None:
        self.number += 1
        self.aimed, self.dropped = direction, False
        strategy_in(self.manager, "s").wanted = (direction, 7.0)
        self.tell(trade(self.number))

    def fill(self, pick: int, part: int) -> None:
        if order := self._pick(pick):
            order.decided = True
            lots = min(part, order.open_lots)
            order.open_lots, order.filled, order.fills = order.open_lots - lots, order.filled + lots, order.fills + 1
            self.held += order.sign * lots
            self.wire.append(fill_of(order.intent, qty=lots / LOTS, count=order.fills))
            status: Any = "partially_filled" if order.open_lots else "filled"
            self.wire.append(update_of(order.intent, status, order.filled / LOTS))

    def end(self, order: VenueOrder | None, status: Any) -> None:
        if order is not None:
            order.open_lots = 0
            self.wire.append(update_of(order.intent, status, order.filled / LOTS))

    def deny(self, pick: int) -> None:
        order = self._pick(pick)
        if order is not None and not order.decided:
            order.open_lots = 0
            code = DenialCode.REDUCING if pick % 2 else DenialCode.HALTED
            self.denials.append(replace(denial_of(order.intent), code=code))

    def take_cancel(self) -> None:
        """The venue takes the oldest cancel; one that comes too late is passed over."""
        if self.cancels:
            wanted = self.cancels.pop(0).order_id
            found = [o for o in self._open() if ids.order_id(o.intent.intent_id) == wanted]
            self.end(found[0] if found else None, "canceled")

    def deliver(self, overtake: int = 0) -> None:
        """The strategy hears of the next thing, or of a later one first."""
        source = self.denials if self.denials and (overtake % 2 or not self.wire) else self.wire
        if source:
            source.rotate(-(overtake % 3))
            event = source.popleft()
            source.rotate(overtake % 3)
            dropping = getattr(event, "status", "canceled") in ("canceled", "rejected")
            if dropping and not hasattr(event, "price") and event.intent_id not in self._canceled():  # type: ignore[attr-defined]  # decisions and updates have one
                self.dropped = True
            self.tell(event, event)

    def come_to_rest(self) -> None:
        while self.wire or self.denials or self.cancels or self._open():
            self.take_cancel()
            while self.wire or self.denials:
                self.deliver()
            if not self.cancels:
                self.fill(0, LOTS * 2)

    def restart(self) -> None:
        """A new process: the ledger brings orders and positions back, the aim is forgotten."""
        before, self.manager = self.manager.snapshot(), manager_of(entry(Aims, id="s"))
        for cause, events in self.ledger:
            self.manager.recover(cause, events)
        assert self.manager.snapshot() == before
        self.dropped = True

    def _canceled(self) -> set[str]:
        return {o.intent.intent_id for o in self.orders if ids.order_id(o.intent.intent_id) in self._asked}

    @property
    def _asked(self) -> set[str]:
        return {a.order_id for _, answers in self.ledger for a in answers if isinstance(a, OrderCancel)}

    def _open(self) -> list[VenueOrder]:
        return [order for order in self.orders if order.open_lots]

    def _pick(self, pick: int) -> VenueOrder | None:
        found = self._open()
        return found[pick % len(found)] if found else None


STEP = st.tuples(
    st.sampled_from(["aim", "fill", "cancel", "deliver", "aim", "fill", "cancel", "deny", "reject", "kill", "restart"]),
    st.integers(0, 2 * LOTS),
)


# The final update overtakes the fill that it counts, after the aim has gone there and back.
OVERTAKEN = [("aim", 2), ("fill", 29), ("aim", 0), ("aim", 2), ("cancel", 0), ("deliver", 2)]


def run(world: World, steps: list[tuple[str, int]]) -> None:
    for what, number in steps:
        match what:
            case "aim":
                direction: Direction = (-1, 0, 1)[number % 3]
                world.aim(direction)
            case "fill":
                world.fill(number, number + 1)
            case "deny":
                world.deny(number)
            case "reject" if (order := world._pick(number)) is not None and not order.filled:
                world.end(order, "rejected")
            case "kill":
                world.end(world._pick(number), "canceled")
            case "cancel":
                world.take_cancel()
            case "deliver":
                world.deliver(number)
            case "restart":
                world.restart()


@settings(max_examples=300)
@given(st.lists(STEP, max_size=60))
@example(OVERTAKEN)
def test_held_and_open_never_exceed_the_quantity_and_the_last_aim_is_met_unless_it_was_dropped(
    steps: list[tuple[str, int]],
) -> None:
    world = World()

    run(world, steps)
    world.come_to_rest()

    held = strategy_in(world.manager, "s").context.positions[SYMBOL].qty
    assert round(held * LOTS) == world.held
    assert not strategy_in(world.manager, "s").context.orders
    assert world.dropped or world.held == world.aimed * LOTS


@given(st.lists(STEP, max_size=40), st.sampled_from([-1, 0, 1]))
def test_after_anything_one_more_signal_is_enough(steps: list[tuple[str, int]], direction: Direction) -> None:
    world = World()

    run(world, steps)
    world.come_to_rest()
    world.aim(direction)
    world.come_to_rest()

    assert world.held == direction * LOTS
