"""Random trading sessions for the property tests of the risk engine: plans that hypothesis can shrink.

A plan is a list of steps of small numbers; ``play`` turns each into an event that fits what the engine has
answered so far (a fill of an order that it let through, a cancel, the next price) and feeds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from core.contracts import Contract, OrderEvent, OrderIntent
from tests.support.risk_builders import BTC, ETH_BTC, LedgerKeeper, feed, fill, intent, kill, tick, trade, update

SYMBOLS = (BTC, "ATOM/USDT", ETH_BTC)
PRICES = {BTC: 100.0, "ATOM/USDT": 10.0, ETH_BTC: 0.05}
STEPS = ("trade", "trade", "intent", "intent", "intent", "repeat", "fill", "fill", "part", "cancel", "filled_first",
         "tick", "feed", "kill")  # fmt: skip
SECONDS = (0.0, 0.1, 1.0, 7.0, 3_600.0, 40_000.0)

CAPS: Mapping[str, Any] = {
    "max_price_age_ms": 50_000_000,
    "orders_per_min_cap": 3,
    "usd_rates": {"BTC": 100.0},
    "price_collar_bps": 2_000,
}
"""Caps under which a random session sees most codes, and still trades."""

Step = tuple[str, int, int, int]

steps: st.SearchStrategy[Step] = st.tuples(
    st.sampled_from(STEPS), st.integers(0, 2), st.integers(0, len(SECONDS) - 1), st.integers(0, 999)
)
plans: st.SearchStrategy[list[Step]] = st.lists(steps, min_size=5, max_size=60)


@dataclass
class Session:
    """A session under way: its keeper, the orders that still work, and the time."""

    keeper: LedgerKeeper
    seconds: float = 0.0
    count: int = 0
    working: list[tuple[OrderEvent, float]] = field(default_factory=list)
    intents: list[OrderIntent] = field(default_factory=list)

    def play(self, plan: Sequence[Step]) -> None:
        """Feed every step of the plan, after a first price for each symbol."""
        for symbol in SYMBOLS:
            self.keeper.feed(trade(PRICES[symbol], self.seconds, symbol))
        for step in plan:
            for event in self.events(*step):
                answers = self.keeper.feed(event)
                self.working += [(each, each.qty) for each in answers if isinstance(each, OrderEvent)]

    def events(self, kind: str, which: int, wait: int, n: int) -> list[Contract]:
        """What a step means now."""
        self.seconds += SECONDS[wait] if n % 4 == 0 else n / 1_000
        symbol = SYMBOLS[which]
        price = round(PRICES[symbol] * (1 + (n - 500) / 1_000), 5 if symbol == ETH_BTC else 2)
        if kind == "trade":
            return [trade(price, self.seconds, symbol)]
        if kind == "tick":
            return [tick(self.seconds)]
        if kind == "feed":
            return [feed(("live", "stale", "reconnecting", "ended")[n % 4], self.seconds, symbol)]
        if kind == "kill":
            return [kill(n % 10 == 0, ("file", "redis")[which % 2], self.seconds)]
        if kind == "intent":
            return [self._intent(symbol, price, n)]
        if kind == "repeat":
            return [self.intents[n % len(self.intents)]] if self.intents else []
        return self._of_an_order(kind, price, n) if self.working else []

    def _intent(self, symbol: str, price: float, n: int) -> OrderIntent:
        self.count += 1
        qty = (0.1, 1.0, 5.0, 9.9, 9.9, 0.15, 30.0)[n % 7]
        limit = price if n % 11 == 0 else None
        made = intent(("buy", "sell")[n % 2], qty, limit, seconds=self.seconds, symbol=symbol, name=f"i-{self.count}")
        self.intents.append(made)
        return made

    def _of_an_order(self, kind: str, price: float, n: int) -> list[Contract]:
        order, left = self.working.pop(n % len(self.working))
        price = PRICES[order.symbol] if n % 2 else round(PRICES[order.symbol] * 0.6, 5)
        fee = n / 100
        if kind == "fill":
            return [fill(order, price, left, self.seconds, fee)]
        if kind == "part" and left > 0.15:
            self.working.append((order, round(left - 0.1, 3)))
            return [fill(order, price, 0.1, self.seconds, fee)]
        if kind == "filled_first":
            return [update(order, "filled", order.qty, self.seconds), fill(order, price, left, self.seconds, fee)]
        return [update(order, "canceled", round(order.qty - left, 3), self.seconds)]
