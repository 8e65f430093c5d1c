"""Fill models: when and at which price a simulated order fills, by named models on integers of lots and ticks.

``last_trade`` is the specification's simple rule, ``trade_flow`` fills against the volume that really
traded. A model sees an order, the last price at its placement, and what traded after; never more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from core.contracts import Liquidity, Side
from core.costs import PPM, PPM_PER_BPS, BarRange, slipped
from core.errors import ConfigError
from core.exact import integer_sum


@dataclass(slots=True, eq=False)
class WorkingOrder:
    """An order at work. ``limit_ticks`` is None on a market order; ``remaining`` is all of ``lots`` at first.

    ``fallback_ticks`` is what a market order may fill at when no trade is known. ``ahead`` (lots that
    others queue before it) and ``aggressive`` (it takes, it does not rest yet) are notes of the model.
    """

    order_id: str
    side: Side
    lots: int
    limit_ticks: int | None
    ts_ns: int
    fallback_ticks: int | None = None
    remaining: int = -1
    ahead: int = 0
    aggressive: bool = False

    def __post_init__(self) -> None:
        if self.remaining < 0:
            self.remaining = self.lots

    def crossed_by(self, ticks: int) -> bool:
        """True when a price satisfies the limit: at or below for a buy, at or above for a sell. True without limit."""
        if self.limit_ticks is None:
            return True
        return ticks <= self.limit_ticks if self.side == "buy" else ticks >= self.limit_ticks


class Print(NamedTuple):
    """A recorded trade in ticks and lots; ``taker`` is the side that came to the book."""

    ticks: int
    lots: int
    taker: Side


class Match(NamedTuple):
    """A model's verdict: so many lots of this order, at this price."""

    order: WorkingOrder
    lots: int
    ticks: int
    liquidity: Liquidity


Queues = Mapping[Side, Sequence[WorkingOrder]]  # by side, in price-time priority, market orders first


class FillModel(Protocol):
    """A rule by which orders fill. Deterministic; what it notes, it notes on the order."""

    name: ClassVar[str]

    def on_placed(self, order: WorkingOrder, last_ticks: int | None) -> Match | None:
        """The fill of the whole order at its placement, or None: it queues. ``last_ticks`` is None before any price."""
        ...

    def on_trade(self, queues: Queues, trade: Print) -> list[Match]:
        """The fills from a trade; every order given was accepted before it."""
        ...

    def on_bar(self, queues: Queues, bar: BarRange) -> list[Match]:
        """The fills from a bar; every order given was accepted before it opened."""
        ...


def crosses_bar(order: WorkingOrder, bar: BarRange) -> bool:
    """True when a bar reached the order's limit: its low for a buy, its high for a sell."""
    return order.crossed_by(bar.low if order.side == "buy" else bar.high)


def match_bar(queues: Queues, bar: BarRange, slippage_ppm: int) -> list[Match]:
    """Bars say nothing of volume: what fills, fills in full. Market orders at the close; limits at their limit if the
    bar reached it, an aggressive one at the close if that is better, and as taker. One not reached rests from then on.
    """
    matches = []
    for order in (*queues["buy"], *queues["sell"]):
        if order.limit_ticks is None:
            matches.append(Match(order, order.remaining, slipped(bar.close, order.side, slippage_ppm), "taker"))
        elif not crosses_bar(order, bar):
            order.aggressive = False
        elif order.aggressive:
            better = min if order.side == "buy" else max
            matches.append(Match(order, order.remaining, better(order.limit_ticks, bar.close), "taker"))
        else:
            matches.append(Match(order, order.remaining, order.limit_ticks, "maker"))
    return matches


def _ppm(model: str, name: str, value: float, limit: float, unit: int = PPM) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
        raise ConfigError(f"fill model {model}, {name}: expected a number from 0 to {limit}, got {value!r}")
    return round(value * unit)


@dataclass(frozen=True)
class LastTrade:
    """The simple rule: every order fills in full, at once, as soon as the last price allows it.

    A market order fills at the last price moved by ``slippage_bps``; when none is known at its
    ``limit_price``; without that either, at the first trade to come. A limit order that the last price
    satisfies when it is placed fills at the last price (which is the better one) as taker; one that a
    later trade satisfies was resting, and fills at its limit as maker. With ``waits`` nothing fills when
    it is placed: the first trade after decides.
    """

    name: ClassVar[str] = "last_trade"

    slippage_bps: float = 0.0
    waits: bool = False

    def __post_init__(self) -> None:
        _ppm(self.name, "slippage_bps", self.slippage_bps, 10_000, PPM_PER_BPS)

    def on_placed(self, order: WorkingOrder, last_ticks: int | None) -> Match | None:
        """See the class."""
        if self.waits:
            return None
        if order.limit_ticks is not None:
            if last_ticks is None or not order.crossed_by(last_ticks):
                return None
            return Match(order, order.remaining, last_ticks, "taker")
        if last_ticks is None:
            last_ticks = order.fallback_ticks
        return None if last_ticks is None else self._at_market(order, last_ticks)

    def on_trade(self, queues: Queues, trade: Print) -> list[Match]:
        """See the class."""
        matches = []
        for order in (*queues["buy"], *queues["sell"]):
            if order.limit_ticks is None:
                matches.append(self._at_market(order, trade.ticks))
            elif order.crossed_by(trade.ticks):
                matches.append(Match(order, order.remaining, order.limit_ticks, "maker"))
        return matches

    def on_bar(self, queues: Queues, bar: BarRange) -> list[Match]:
        """See ``match_bar``."""
        return match_bar(queues, bar, round(self.slippage_bps * PPM_PER_BPS))

    def _at_market(self, order: WorkingOrder, ticks: int) -> Match:
        price = slipped(ticks, order.side, round(self.slippage_bps * PPM_PER_BPS))
        return Match(order, order.remaining, price, "taker")


@dataclass(frozen=True)
class TradeFlow:
    """Orders take part in the recorded flow, in portions, and never in more volume than really traded.

    Of each trade, at most the share ``participation`` (rounded down to the lot) goes to all our orders together.
    - A market buy takes part in trades that buyers took: their price is what the ask was. It pays that
      price moved by ``slippage_bps``, over as many trades as it needs. Sells mirror it.
    - A limit order better than the last price when placed takes in the same way, up to its limit and
      without slippage, until a trade on its side prints beyond the limit. From then on it rests.
    - A resting limit buy fills at its limit, as maker, from trades that sellers took: from one below its
      limit with the whole share; from one at its limit once ``queue_lots`` have traded there, and then
      with what the ``queue_fraction`` of the volume that goes to others leaves over.

    The trade's volume goes to takers in order of arrival first, then to resting orders by price, then time.
    """

    name: ClassVar[str] = "trade_flow"

    participation: float = 1.0
    queue_lots: int = 0
    queue_fraction: float = 0.5
    slippage_bps: float = 0.0

    def __post_init__(self) -> None:
        _ppm(self.name, "participation", self.participation, 1)
        _ppm(self.name, "queue_fraction", self.queue_fraction, 1)
        _ppm(self.name, "slippage_bps", self.slippage_bps, 10_000, PPM_PER_BPS)
        if isinstance(self.queue_lots, bool) or not isinstance(self.queue_lots, int) or self.queue_lots < 0:
            raise ConfigError(
                f"fill model {self.name}, queue_lots: expected a whole number of at least 0, got {self.queue_lots!r}"
            )

    def on_placed(self, order: WorkingOrder, last_ticks: int | None) -> Match | None:
        """Nothing fills at placement: only volume that trades later can fill an order."""
        # An order at the last price may as well join the queue there, so only a better one is marketable.
        order.aggressive = order.limit_ticks is None or (
            last_ticks is not None and order.limit_ticks != last_ticks and order.crossed_by(last_ticks)
        )
        order.ahead = 0 if order.aggressive else self.queue_lots
        return None

    def on_trade(self, queues: Queues, trade: Print) -> list[Match]:
        """See the class."""
        budget = trade.lots * round(self.participation * PPM) // PPM
        matches = self._taking(queues[trade.taker], trade, budget)
        used = integer_sum(match.lots for match in matches)
        for order in queues["sell" if trade.taker == "buy" else "buy"]:
            if order.limit_ticks is None or order.aggressive or not order.crossed_by(trade.ticks):
                continue
            lots = min(order.remaining, self._reachable(order, order.limit_ticks, trade, budget) - used)
            if lots > 0:
                used += lots
                matches.append(Match(order, lots, order.limit_ticks, "maker"))
        return matches

    def on_bar(self, queues: Queues, bar: BarRange) -> list[Match]:
        """See ``match_bar``."""
        return match_bar(queues, bar, round(self.slippage_bps * PPM_PER_BPS))

    def _taking(self, queue: Sequence[WorkingOrder], trade: Print, budget: int) -> list[Match]:
        matches = []
        for order in sorted((o for o in queue if o.aggressive), key=lambda o: o.ts_ns):  # stable: arrival breaks ties
            if not order.crossed_by(trade.ticks):
                order.aggressive = False
                order.ahead = self.queue_lots
                continue
            lots = min(order.remaining, budget)
            if lots > 0:
                budget -= lots
                ticks = trade.ticks
                if order.limit_ticks is None:
                    ticks = slipped(ticks, order.side, round(self.slippage_bps * PPM_PER_BPS))
                matches.append(Match(order, lots, ticks, "taker"))
        return matches

    def _reachable(self, order: WorkingOrder, limit: int, trade: Print, budget: int) -> int:
        """The lots of a trade that get as far as this resting order; moves the queue ahead of it on."""
        if trade.ticks != limit:
            order.ahead = 0
            return budget
        past_queue = max(0, trade.lots - order.ahead)
        order.ahead -= trade.lots - past_queue
        return min(budget, past_queue * (PPM - round(self.queue_fraction * PPM)) // PPM)


FILL_MODELS: Final[Mapping[str, type[LastTrade] | type[TradeFlow]]] = {
    LastTrade.name: LastTrade,
    TradeFlow.name: TradeFlow,
}
DEFAULT_FILL_MODEL: Final = TradeFlow.name


def fill_model(name: str = DEFAULT_FILL_MODEL, parameters: Mapping[str, Any] | None = None) -> FillModel:
    """The model of that name. Raises ConfigError for an unknown name or parameter, or a value out of range."""
    model_class = FILL_MODELS.get(name)
    if model_class is None:
        raise ConfigError(f"fill model: expected one of {', '.join(FILL_MODELS)}, got {name!r}")
    settings = dict(parameters or {})
    allowed = [f.name for f in fields(model_class)]
    unknown = sorted(set(settings) - set(allowed))
    if unknown:
        raise ConfigError(
            f"fill model {name}: unknown parameter {', '.join(unknown)}; expected one of {', '.join(allowed)}"
        )
    return model_class(**settings)
