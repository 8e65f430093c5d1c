"""The trade loop: feeds trades to bars, strategies, risk engine and venue, as in the fleet.

A bar is known by the first trade past its end, or when the clock passes that by the grace, and not before. So a
strategy on bars decides when it would live, and its orders fill from the trades that follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import merge

from backtest.engine.trade_order_router import TradeOrderRouter
from backtest.engine.trade_venue import TradeVenue
from core.clock import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from core.contracts import ClockTick, Contract, TradeEvent
from core.market.bars import GRACE_MS


class TradeLoop:
    """Runs market events in their order; messages under way to the venue arrive between them."""

    def __init__(self, router: TradeOrderRouter, venue: TradeVenue) -> None:
        self._router = router
        self._venue = venue

    def run(self, moments: Iterable[Sequence[TradeEvent | ClockTick]]) -> None:
        """From the first event to the last. Raises StrategyFailedError, EndlessAnswersError."""
        for events in moments:
            self._arrivals(events[0].ts)
            self._router.on_market_events(events)

    def _arrivals(self, until_ns: int) -> None:
        while (ts_ns := self._venue.next_arrival_ns()) is not None and ts_ns <= until_ns:
            self._router.arrive()


def with_clock(
    tapes: Sequence[Iterable[TradeEvent]], *, each_second: bool = False
) -> Iterator[tuple[TradeEvent | ClockTick]]:
    """The trades of all symbols in order of time, and between them the clock.

    The clock of a market whose book keeps moving: it ticks on whole seconds. Without ``each_second`` only those are
    given by which a minute is over for good, since nothing but bars waits for the clock.
    """
    step, offset = (NS_PER_S, 0) if each_second else (NS_PER_MINUTE, -(-GRACE_MS * NS_PER_MS // NS_PER_S) * NS_PER_S)
    due = 0
    for trade in merge(*tapes, key=_time):  # at equal times in the order of symbols
        if not due:
            due = _next(trade.ts, step, offset)
        while due <= trade.ts:
            yield (ClockTick(due),)
            due += step
        yield (trade,)


def _next(ts_ns: int, step: int, offset: int) -> int:
    """The first multiple of ``step``, moved by ``offset``, after a time."""
    return ts_ns - (ts_ns - offset) % step + step


def _time(event: Contract) -> int:
    return event.ts_ns
