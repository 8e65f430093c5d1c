"""The trade venue: the paper venue of the fleet behind a latency, with its fills booked in integers.

An order fills by the same rules here and in the fleet.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from backtest.contracts import BacktestConfig
from backtest.fill_simulator import Booked
from core.contracts import ClockTick, Contract, FillEvent, OrderCancel, OrderEvent, TradeEvent
from core.costs import FeeSchedule
from core.errors import ConfigError, ContractError
from core.instruments import Instruments
from execution.order_registry import OpenOrder
from execution.paper_venue import PaperVenue


class TradeVenue:
    """A component with the inputs of ``PaperVenue``; orders and cancels reach that one ``latency_ns`` later.

    Args:
        instruments: what trades there, with the fees of the run.
        model: of the paper venue, with its ``parameters``.
        latency_ns: from the decision to the venue; 0 takes an order within the moment of its decision, as the fleet.
        moments: the times whose equity is counted, in order.

    Attributes:
        booked: the fills in integers.

    Raises:
        ConfigError: a parameter that the model does not have.
    """

    name = PaperVenue.name

    def __init__(
        self,
        instruments: Instruments,
        model: str,
        parameters: dict[str, Any],
        *,
        latency_ns: int = 0,
        moments: Sequence[int] = (),
    ) -> None:
        self.booked: list[Booked] = []
        self._venue = PaperVenue(instruments, model, parameters)
        self._instruments = instruments
        self._fees = {symbol: FeeSchedule(instrument) for symbol, instrument in instruments.items()}
        self._latency_ns = latency_ns
        self._moments = moments
        self._under_way: deque[tuple[int, OrderEvent | OrderCancel]] = deque()
        self._now = 0

    def on_event(self, event: Contract) -> Iterable[Contract]:
        """Take a trade, the clock, an order, a cancel or the kill switch. Raises RejectedError as the paper venue."""
        if isinstance(event, TradeEvent | ClockTick):
            self._now = max(self._now, event.ts)
        elif self._latency_ns and isinstance(event, OrderEvent | OrderCancel):
            self._under_way.append((self._now + self._latency_ns, event))
            return ()
        return self._answers(event)

    def next_arrival_ns(self) -> int | None:
        """The time of the next arrival; None when no message is under way."""
        return self._under_way[0][0] if self._under_way else None

    def arrive(self) -> Iterable[Contract]:
        """Take the next message under way; it counts from its arrival. Raises RejectedError."""
        self._now, message = self._under_way.popleft()
        if isinstance(message, OrderCancel):
            return self._answers(replace(message, ts_requested_ns=self._now))
        return self._answers(replace(message, ts_accepted_ns=self._now))

    def left_open(self) -> tuple[OpenOrder, ...]:
        """The orders that have not ended."""
        return self._venue.open_orders

    def _answers(self, event: Contract) -> Iterable[Contract]:
        try:
            answers = self._venue.on_event(event)
        except ContractError:
            if not isinstance(event, TradeEvent):
                raise
            answers = self._venue.on_event(self._at_nearest_step(event))
        for answer in answers:
            if isinstance(answer, FillEvent):
                self._book(answer)
        return answers

    def _at_nearest_step(self, trade: TradeEvent) -> TradeEvent:
        """A trade off the grid counts at the nearest step, as bars do."""
        instrument = self._instruments[trade.symbol]
        ticks = max(1, round(trade.price / float(instrument.tick_size)))
        lots = max(1, round(trade.qty / float(instrument.lot_size)))
        return replace(trade, price=instrument.price(ticks), qty=instrument.qty(lots))

    def _book(self, fill: FillEvent) -> None:
        instrument = self._instruments[fill.symbol]
        lots, ticks = instrument.lots(fill.qty), instrument.ticks(fill.price)
        fee = self._fees[fill.symbol].units(lots, ticks, fill.liquidity)
        moment = bisect_right(self._moments, self._now)
        signed = lots if fill.side == "buy" else -lots
        self.booked.append(Booked(fill.symbol, moment, fill.ts_fill_ns, signed, ticks, fee))


def model_parameters(config: BacktestConfig) -> dict[str, Any]:
    """The parameters of the fill model of a run on trades. Raises ConfigError."""
    if config.slippage_model != "fixed":
        raise ConfigError(
            f"slippage_model: expected fixed with fill timing next_trade, got {config.slippage_model}; trades have "
            "no range or volume of a bar"
        )
    own = {"participation": config.participation} if config.fill_model == "trade_flow" else {"waits": True}
    return {"slippage_bps": config.slippage_bps, **own}
