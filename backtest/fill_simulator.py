"""The simulated venue on bars: takes orders with their decisions, answers updates and fills, exact to the last unit.

The same matching core, fees and order life as the paper venue; only the fill model knows bars. See ``FillTiming``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, NamedTuple

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.price_grid import PriceGrid
from core import ids
from core.contracts import Contract, DenialCode, FillEvent, OrderCancel, OrderEvent, OrderUpdate
from core.contracts.fast_init import trusted
from core.costs import FeeSchedule, Slippage
from core.errors import ContractError, RejectedError
from core.instruments import Instrument
from core.position_ledger import fee_of_units
from execution.bar_fills import BarFills
from execution.decision_check import refusal
from execution.fill_models import WorkingOrder
from execution.matching import Execution, MatchingCore
from execution.order_registry import OpenOrder, OrderRegistry, order_update

_NS_FAR: Final = 2**63 - 1
_fill_event: Final = trusted(FillEvent)


class Booked(NamedTuple):
    """A fill in integers. ``moment`` is the index of the first moment of the stream whose equity it counts in."""

    symbol: str
    moment: int
    ts_ns: int
    lots: int  # signed
    ticks: int
    fee: int  # FEE_UNIT


class Moment(NamedTuple):
    """The time of a run, the number of the moment in which fills count, and whether the opens of that time are past."""

    ts_ns: int
    number: int
    opened: bool = False


@dataclass(slots=True)
class _Waiting:
    """Orders of one symbol on their way to the open of a bar."""

    bar: int
    ts_open: int
    orders: list[OpenOrder]


def with_fees(instrument: Instrument, config: BacktestConfig) -> Instrument:
    """The instrument at the run's commission: ``commission_rate`` for takers, ``maker_rate`` for makers if given."""
    maker = config.commission_rate if config.maker_rate is None else config.maker_rate
    return replace(instrument, taker_fee=Decimal(repr(config.commission_rate)), maker_fee=Decimal(repr(maker)))


class _Market:
    """One symbol at the venue."""

    def __init__(self, grid: PriceGrid, config: BacktestConfig) -> None:
        self.grid = grid
        self.instrument = grid.instrument
        slippage = Slippage(config.slippage_model, config.slippage_bps)
        self.model = BarFills(slippage, at_open=config.fill_timing is FillTiming.NEXT_OPEN)
        self.core = MatchingCore(self.model)
        self.fees = FeeSchedule(with_fees(grid.instrument, config))
        self.waiting: list[_Waiting] = []
        self._needs_bar = slippage.ppm > 0 and slippage.model != "fixed"

    def set_price(self, ticks: int, ts_ns: int, closed: int) -> None:
        """Take the price of now; ``closed`` is the latest closed bar."""
        self.core.mark(ticks, ts_ns)
        if self._needs_bar and closed >= 0:
            self.model.closed = self.grid.bar(closed)


class FillSimulator:
    """Takes ``OrderEvent`` and ``OrderCancel``; answers ``OrderUpdate`` and ``FillEvent``, as the paper venue does.

    Its host calls ``on_open`` at ``next_open_ns``, for the opens that orders wait for, and ``on_close`` at
    ``next_reach_ns``, for the bars that may reach resting orders.
    """

    def __init__(self, config: BacktestConfig, grids: Mapping[str, PriceGrid]) -> None:
        self.booked: list[Booked] = []
        self._timing = config.fill_timing
        self._markets = {symbol: _Market(grids[symbol], config) for symbol in sorted(grids)}
        self._orders = OrderRegistry()

    # -- what strategies and risk engine send -------------------------------------------------------------

    def on_order(self, event: OrderEvent, now: Moment) -> list[Contract]:
        """Take an order. Raises RejectedError without the decision that allows it."""
        if self._orders.knows(event.order_id):
            return []
        if forged := refusal(event):
            raise RejectedError(f"order {event.order_id} refused, {forged}")
        market = self._markets.get(event.symbol)
        if market is None:
            symbols = ", ".join(self._markets)
            reason = f"{DenialCode.UNKNOWN_SYMBOL}: expected one of {symbols}, got {event.symbol!r}"
            return [self._reject(event, reason)]
        closed = market.grid.closed_by(now.ts_ns)
        if reason := _unfit(event, market, closed):
            return [self._reject(event, reason)]
        return self._accept(self._orders.open(event, market.instrument), now)

    def on_cancel(self, cancel: OrderCancel) -> list[Contract]:
        """Take an order back. One that is done or unknown answers nothing. Raises RejectedError for another's order."""
        order = self._orders.get(cancel.order_id)
        if order is None:
            return []
        if cancel.strategy_id not in ("", order.event.strategy_id):
            raise RejectedError(
                f"cancel of order {cancel.order_id}: expected it to come from {order.event.strategy_id!r}, got "
                f"{cancel.strategy_id!r}"
            )
        return [self._take_back(order, cancel.ts_ns, cancel.reason)]

    # -- time, as its host reports it ---------------------------------------------------------------------

    @property
    def next_open_ns(self) -> int:
        """The earliest open that an order waits for."""
        if self._timing is FillTiming.BAR_CLOSE:
            return _NS_FAR
        return min((w.ts_open for m in self._markets.values() for w in m.waiting), default=_NS_FAR)

    def next_reach_ns(self, after_ns: int) -> int:
        """The first close after a time of a bar that may fill a resting order."""
        if not self._orders.any_open:
            return _NS_FAR
        return min((self._next_reach(market, after_ns) for market in self._markets.values()), default=_NS_FAR)

    def opening(self, ts_ns: int) -> list[tuple[str, float]]:
        """Symbol and open of every bar that orders wait for at that time."""
        return [
            (symbol, float(market.grid.series.open[waiting.bar]))
            for symbol, market in self._markets.items()
            for waiting in market.waiting
            if waiting.ts_open == ts_ns
        ]

    def on_open(self, now: Moment) -> list[Contract]:
        """Fill the orders that wait for a bar that opens now."""
        answers: list[Contract] = []
        for market in self._markets.values():
            due = [waiting for waiting in market.waiting if waiting.ts_open == now.ts_ns]
            market.waiting = [waiting for waiting in market.waiting if waiting.ts_open != now.ts_ns]
            for waiting in due:
                market.set_price(int(market.grid.open[waiting.bar]), now.ts_ns, waiting.bar - 1)
                for order in waiting.orders:
                    answers += self._place(order, market, now)
        return answers

    def on_close(self, now: Moment) -> list[Contract]:
        """Fill the resting orders that the bars closing now reach."""
        answers: list[Contract] = []
        for market in self._markets.values():
            grid = market.grid
            at = grid.closed_by(now.ts_ns)
            if at < 0 or grid.closes_at[at] != now.ts_ns or not market.core.open_orders:
                continue
            bar = grid.bar(at)
            executions = market.core.on_bar(bar, int(grid.series.ts_open[at]), now.ts_ns)
            for execution in executions:
                order = self._orders.get(execution.order_id)
                if order is not None:
                    answers += self._fill(order, market, execution, now)
        return answers

    def left_open(self) -> tuple[OpenOrder, ...]:
        """The orders that have not ended."""
        return self._orders.all_open()

    # -- orders -------------------------------------------------------------------------------------------

    def _accept(self, order: OpenOrder, now: Moment) -> list[Contract]:
        market = self._markets[order.event.symbol]
        accepted = order.update(now.ts_ns)
        if self._timing is FillTiming.NEXT_OPEN:
            self._send(order, market, now)
            return [accepted]
        closed = market.grid.closed_by(now.ts_ns)
        closed_at = market.grid.closes_at[closed] if closed >= 0 else 0
        if closed_at < now.ts_ns and order.event.type == "market":
            # No bar of it closes now: it takes the close of the one that has begun, not a price that is gone.
            market.core.recover(WorkingOrder(order.event.order_id, order.event.side, order.lots, None, closed_at))
            return [accepted]
        if closed >= 0:
            market.set_price(market.grid.close.item(closed), closed_at, closed)
        return [accepted, *self._place(order, market, now)]

    def _send(self, order: OpenOrder, market: _Market, now: Moment) -> None:
        at = market.grid.opening_from(now.ts_ns, later=now.opened)
        if at is None:
            return  # stays open: the data ends before anything could fill it
        if market.waiting and market.waiting[-1].bar == at:
            market.waiting[-1].orders.append(order)
        else:
            market.waiting.append(_Waiting(at, market.grid.opens_at[at], [order]))

    def _place(self, order: OpenOrder, market: _Market, now: Moment) -> list[Contract]:
        event = order.event
        limit = None
        if event.type == "limit" and event.limit_price is not None:
            limit = order.instrument.ticks(event.limit_price)
        answers: list[Contract] = []
        for execution in market.core.place(WorkingOrder(event.order_id, event.side, order.lots, limit, now.ts_ns)):
            answers += self._fill(order, market, execution, now)
        return answers

    def _fill(self, order: OpenOrder, market: _Market, execution: Execution, now: Moment) -> tuple[Contract, Contract]:
        event, lots, ticks = order.event, execution.lots, execution.ticks
        fee = market.fees.units(lots, ticks, execution.liquidity)
        order.add(lots, ticks)
        if not order.remaining:
            self._orders.finish(event.order_id)
        fill = _fill_event(
            order_id=event.order_id,
            symbol=event.symbol,
            side=event.side,
            qty=order.instrument.qty(lots),
            price=order.instrument.price(ticks),
            fee=fee_of_units(fee),
            ts_fill_ns=now.ts_ns,
            fill_id=ids.fill_id(event.order_id, order.fills),
            intent_id=event.intent_id,
            strategy_id=event.strategy_id,
            venue=event.venue,
            liquidity=execution.liquidity,
            meta=event.meta,
        )
        signed = lots if event.side == "buy" else -lots
        self.booked.append(Booked(event.symbol, now.number, now.ts_ns, signed, ticks, fee))
        return fill, order.update(now.ts_ns)

    def _take_back(self, order: OpenOrder, ts_ns: int, reason: str) -> OrderUpdate:
        event = order.event
        market = self._markets[event.symbol]
        self._orders.finish(event.order_id)
        market.core.cancel(event.order_id)
        for waiting in market.waiting:
            waiting.orders = [other for other in waiting.orders if other is not order]
        market.waiting = [waiting for waiting in market.waiting if waiting.orders]
        return order.update(ts_ns, "canceled", reason)

    def _reject(self, event: OrderEvent, reason: str) -> OrderUpdate:
        self._orders.finish(event.order_id)
        return order_update(event, event.ts_ns, "rejected", reason)

    def _next_reach(self, market: _Market, after_ns: int) -> int:
        resting = market.core.open_orders
        if not resting:
            return _NS_FAR
        start = market.grid.closed_by(after_ns) + 1
        if any(order.limit_ticks is None for order in resting):
            return market.grid.closes_at[start] if start < len(market.grid.closes_at) else _NS_FAR
        buys = [order.limit_ticks for order in resting if order.side == "buy" and order.limit_ticks is not None]
        sells = [order.limit_ticks for order in resting if order.side == "sell" and order.limit_ticks is not None]
        return market.grid.reached(start, max(buys, default=None), min(sells, default=None))


def _unfit(order: OrderEvent, market: _Market, closed: int) -> str:
    """The reason why the venue refuses an order; empty for none."""
    instrument = market.instrument
    code = DenialCode.LOT_SIZE
    try:
        lots = instrument.lots(order.qty)
        code = DenialCode.TICK_SIZE
        limit = None
        if order.type == "limit" and order.limit_price is not None:
            limit = instrument.ticks(order.limit_price)
    except ContractError as error:
        return f"{code}: {error}"
    if instrument.min_notional and (limit is not None or closed >= 0):
        ticks = limit if limit is not None else int(market.grid.close[closed])
        notional = lots * ticks * instrument.money_unit
        if notional < instrument.min_notional:
            return f"{DenialCode.MIN_NOTIONAL}: notional={notional:f} min_notional={instrument.min_notional:f}"
    return ""
