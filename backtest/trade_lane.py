"""The stream when trades are the input: every trade reaches venue, risk engine and strategies, orders take their time.

Bars that close at a time come before the trades of that time, which belong to the next bar.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import merge
from typing import ClassVar

from backtest.clock_stream import ClockStream
from backtest.contracts import BacktestConfig
from backtest.desk import Desk
from backtest.fill_simulator import FillSimulator, Moment
from backtest.price_grid import PriceGrid
from backtest.seats import Seat
from core.contracts import Contract, OHLCVBar, OrderCancel, TradeEvent
from core.errors import ConfigError
from execution.fill_models import BarRange, FillModel, Match, Print, Queues, WorkingOrder, fill_model
from execution.order_registry import OpenOrder
from strategies.prices import LastPrices

_Due = tuple[int, int, OHLCVBar | TradeEvent]


class _FromNextTrade:
    """A model of the paper venue without its fills at placement: an order that arrives waits for the next trade."""

    name: ClassVar[str] = "from_next_trade"

    def __init__(self, model: FillModel) -> None:
        self._model = model

    def on_placed(self, order: WorkingOrder, last_ticks: int | None) -> Match | None:
        """What the model notes of the order, and no fill."""
        self._model.on_placed(order, last_ticks)
        return None

    def on_trade(self, queues: Queues, trade: Print) -> list[Match]:
        """As the model has it."""
        return self._model.on_trade(queues, trade)

    def on_bar(self, queues: Queues, bar: BarRange) -> list[Match]:
        """As the model has it."""
        return self._model.on_bar(queues, bar)


class TradeVenue(FillSimulator):
    """The venue on trades: what is sent arrives ``latency_ns`` later, and fills by a model of the paper venue."""

    def __init__(self, config: BacktestConfig, grids: Mapping[str, PriceGrid]) -> None:
        super().__init__(config, grids)
        if config.slippage_model != "fixed":
            raise ConfigError(
                f"slippage_model: expected fixed with fill timing next_trade, got {config.slippage_model}; trades have "
                "no range or volume of a bar"
            )
        self._latency_ns = config.latency_ns
        self._under_way: deque[tuple[int, OpenOrder | OrderCancel]] = deque()
        for market in self._markets.values():
            market.take_model(_FromNextTrade(fill_model(config.fill_model, {"slippage_bps": config.slippage_bps})))

    def _accept(self, order: OpenOrder, now: Moment) -> list[Contract]:
        self._under_way.append((now.ts_ns + self._latency_ns, order))
        return []

    def on_cancel(self, cancel: OrderCancel) -> list[Contract]:
        """See ``FillSimulator``; it arrives later."""
        self._under_way.append((cancel.ts_ns + self._latency_ns, cancel))
        return []

    def next_arrival_ns(self) -> int | None:
        """When the next message arrives, None when there is none under way."""
        return self._under_way[0][0] if self._under_way else None

    def arrive(self, now: Moment) -> list[Contract]:
        """Take in the next message that is under way."""
        _, what = self._under_way.popleft()
        if isinstance(what, OrderCancel):
            return super().on_cancel(replace(what, ts_requested_ns=now.ts_ns))
        market = self._markets[what.event.symbol]
        return [what.update(now.ts_ns), *self._place(what, market, now)]

    def on_trade(self, trade: TradeEvent, now: Moment) -> list[Contract]:
        """What a trade fills; off the grid it counts at the nearest step, as bars do."""
        market = self._markets[trade.symbol]
        ticks = max(1, round(trade.price / market.tick))
        lots = max(1, round(trade.qty / market.lot))
        answers: list[Contract] = []
        for execution in market.core.on_trade(ticks, lots, trade.side, trade.ts):
            order = self._orders.get(execution.order_id)
            if order is not None:
                answers += self._fill(order, market, execution, now)
        return answers


class TradeLane:
    """Runs bars and trades in the order of time."""

    def __init__(
        self,
        stream: ClockStream,
        trades: Sequence[Sequence[TradeEvent]],
        seats: Callable[[OHLCVBar | TradeEvent], Sequence[Seat]],
        desk: Desk,
        venue: TradeVenue,
        prices: LastPrices,
    ) -> None:
        self._stream = stream
        self._trades = trades
        self._seats = seats
        self._desk = desk
        self._venue = venue
        self._prices = prices

    def run(self) -> None:
        """From the first event to the last. Raises StrategyFailedError, EndlessAnswersError."""
        bars: Iterator[_Due] = ((bar.ts_close, 0, bar) for bar in self._stream.events)
        tapes: list[Iterator[_Due]] = [((trade.ts, 1, trade) for trade in tape) for tape in self._trades]
        for ts_ns, _, event in merge(bars, *tapes, key=lambda each: each[:2]):  # equal keys: in the order given
            self._arrivals(ts_ns)
            now = self._moment(ts_ns)
            self._prices.learn(event)
            if isinstance(event, TradeEvent):
                said = self._desk.gate.hear_trade(event.symbol, event.price, event.ts)
                self._desk.carry([*said, *self._venue.on_trade(event, now)], now)
            answers = [answer for seat in self._seats(event) for answer in seat.call(event)]
            if answers:
                self._desk.handle(answers, now)

    def _arrivals(self, until_ns: int) -> None:
        while (ts_ns := self._venue.next_arrival_ns()) is not None and ts_ns <= until_ns:
            now = self._moment(ts_ns)
            self._desk.carry(self._venue.arrive(now), now)

    def _moment(self, ts_ns: int) -> Moment:
        return Moment(ts_ns, bisect_right(self._stream.moments, ts_ns))
