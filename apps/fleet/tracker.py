"""The state of a session as its screen and summary show it, gathered from the messages as they pass."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from apps.fleet.feed_health import FeedHealth
from core.component import Message
from core.contracts import (
    BookEvent,
    FeedGap,
    FeedStatus,
    FillEvent,
    OHLCVBar,
    OrderIntent,
    OrderUpdate,
    PositionSnapshot,
    RiskDecision,
    RiskState,
    TradeEvent,
    TradingState,
)

SHOWN: Final = 50  # decisions, orders and fills kept for the screen
CURVE: Final = 60  # closes kept for the little curve of a market


@dataclass
class Market:
    """One symbol as the screen shows it."""

    first: float = 0.0
    last: float = 0.0
    trades: int = 0
    volume: float = 0.0
    state: str = "live"
    closes: deque[float] = field(default_factory=lambda: deque(maxlen=CURVE))


class Tracker:
    """Listens to an embedded fleet."""

    def __init__(self, health: FeedHealth | None = None) -> None:
        self.health = health or FeedHealth()
        self.markets: dict[str, Market] = {}
        self.positions: dict[str, PositionSnapshot] = {}
        self.orders: deque[OrderUpdate] = deque(maxlen=SHOWN)
        self.decisions: deque[RiskDecision] = deque(maxlen=SHOWN)
        self.fills: deque[FillEvent] = deque(maxlen=SHOWN)
        self.intents: dict[str, OrderIntent] = {}
        self.counts: Counter[str] = Counter()
        self.fills_of: Counter[str] = Counter()  # by symbol
        self.books_of: Counter[str] = Counter()  # order books, by symbol
        self.book_trouble: dict[str, str] = {}  # why a symbol's order book is not there, while it is not
        self.state = TradingState.ACTIVE
        self.now_ns = 0

    def observe(self, messages: Sequence[Message]) -> None:
        """Take a round of messages in."""
        for message in messages:
            event = message.event
            if type(event) is TradeEvent:
                self._on_trade(event)
                continue
            self.counts[type(event).__name__] += 1
            match event:
                case OHLCVBar(timeframe="1m"):
                    self._market(event.symbol).closes.append(event.close)
                case OrderIntent():
                    self.intents[event.intent_id] = event
                case RiskDecision():
                    self.decisions.append(event)
                    self.counts["allowed" if event.allowed else "denied"] += 1
                    if event.code is not None:
                        self.counts[f"denied {event.code}"] += 1
                case OrderUpdate():
                    self._on_order(event)
                case BookEvent():
                    self.books_of[event.symbol] += 1
                case FillEvent():
                    self.fills.append(event)
                    self.fills_of[event.symbol] += 1
                case PositionSnapshot():
                    self.positions[event.symbol] = event
                case RiskState():
                    self.state = event.state
                case FeedStatus(channel="trades"):
                    self._market(event.symbol).state = event.state
                    self.health.take(event)
                case FeedStatus(channel="book"):
                    self._on_book_status(event)
                case FeedGap():
                    self.counts["missing trades"] += event.missing

    def _on_trade(self, trade: TradeEvent) -> None:
        market = self._market(trade.symbol)
        market.first = market.first or trade.price
        market.last = trade.price
        market.trades += 1
        market.volume += trade.qty
        self.now_ns = max(self.now_ns, trade.ts)

    def _on_book_status(self, status: FeedStatus) -> None:
        if status.state == "live":
            self.book_trouble.pop(status.symbol, None)
        else:
            self.book_trouble[status.symbol] = status.detail

    def _on_order(self, update: OrderUpdate) -> None:
        """Keep each order once, as it is now."""
        for place, order in enumerate(self.orders):
            if order.order_id == update.order_id:
                self.orders[place] = update
                return
        self.orders.append(update)

    def _market(self, symbol: str) -> Market:
        return self.markets.setdefault(symbol, Market())
