"""Two ways through the same stream: the fast lane that skips what cannot matter, the slow lane that skips nothing.

Between two moments that may matter, the fast lane does one call of the strategy per bar and nothing else. A property
test holds both to the same bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from operator import length_hint
from typing import Final

from backtest.data.price_grid import PriceGrid
from backtest.engine.clock_stream import ClockStream
from backtest.engine.desk import Desk
from backtest.engine.seats import Seat
from backtest.errors import StrategyFailedError
from backtest.fill_simulator import Moment
from core.contracts import OHLCVBar, OrderCancel, OrderIntent

_NS_FAR: Final = 2**63 - 1
Routes = tuple[tuple[Seat, ...], ...]  # by series of the stream


class ClosePrices(Mapping[str, float]):
    """Last prices as strategies see them: the latest close, looked up when asked for instead of kept at every bar."""

    def __init__(self, grids: Mapping[str, PriceGrid]) -> None:
        self._grids = grids
        self._now_ns = 0
        self._latest: Callable[[], OHLCVBar] | None = None

    def stand_at(self, ts_ns: int) -> None:
        """It is this time now."""
        self._now_ns, self._latest = ts_ns, None

    def follow(self, latest: Callable[[], OHLCVBar]) -> None:
        """From now on it is the time at which the latest event closed."""
        self._latest = latest

    @property
    def now_ns(self) -> int:
        """What time it is."""
        return self._now_ns if self._latest is None else self._latest().ts_close

    def __getitem__(self, symbol: str) -> float:
        grid = self._grids[symbol]
        at = grid.closed_by(self.now_ns)
        if at < 0:
            raise KeyError(symbol)
        price: float = grid.series.close[at].item()
        return price

    def __iter__(self) -> Iterator[str]:
        now_ns = self.now_ns
        return (symbol for symbol, grid in self._grids.items() if grid.closed_by(now_ns) >= 0)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class FastLane:
    """Runs the stream."""

    def __init__(self, stream: ClockStream, routes: Routes, desk: Desk, prices: ClosePrices) -> None:
        self._stream = stream
        self._routes = routes
        self._desk = desk
        self._prices = prices
        self._ahead: Iterator[OHLCVBar] = iter(())
        self._moment = -1  # the latest one that is settled: its prices known, its bars matched

    def run(self) -> None:
        """From the first bar to the last. Raises StrategyFailedError, EndlessAnswersError."""
        stream, ends = self._stream, len(self._stream)
        self._ahead = iter(stream.events)
        at, due = 0, self._next_due()
        while at < ends:
            if at == stream.starts[due]:
                self._settle(due)
                due = self._next_due()
            at, answers = self._stretch(at, stream.starts[due])
            if answers:
                self._moment = moment = stream.moment_of(at - 1)
                self._desk.handle(answers, Moment(stream.moments[moment], moment))
                due = self._next_due()

    def _stretch(self, at: int, stop: int) -> tuple[int, list[OrderIntent | OrderCancel]]:
        """Bring events to the strategies until somebody answers; returns where the next event is, and the answers."""
        stream = self._stream
        found: list[OrderIntent | OrderCancel] = []
        events = islice(self._ahead, stop - at)
        seat, bar = self._routes[0][0] if self._routes[0] else None, None
        self._prices.follow(self._latest)
        if len(self._routes) == 1 and seat is not None and len(self._routes[0]) == 1:
            on_event = seat.on_event
            try:
                for bar in events:
                    answered = on_event(bar)
                    if answered and (found := seat.admitted(answered, bar)):
                        break
            except StrategyFailedError:
                raise
            except Exception as error:
                assert bar is not None
                raise StrategyFailedError(seat.strategy_id, bar, error) from error
            return self._taken, found
        for place, bar in enumerate(events, at):
            for seat in self._routes[stream.kind(place)]:
                found += seat.call(bar)
            if found:
                return place + 1, found
        return stop, found

    @property
    def _taken(self) -> int:
        """How many events the strategies have been brought."""
        return len(self._stream) - length_hint(self._ahead)

    def _latest(self) -> OHLCVBar:
        return self._stream.events[self._taken - 1]

    def _next_due(self) -> int:
        """The first moment after the settled one at which more than the strategies' bars may happen."""
        moments, desk = self._stream.moments, self._desk
        after_ns = moments[self._moment] if self._moment >= 0 else 0
        open_ns = desk.venue.next_open_ns + 1  # opens are past once a later moment begins
        due_ns = min(open_ns, desk.venue.next_reach_ns(after_ns), desk.gate.next_ns(after_ns))
        return bisect_left(moments, due_ns, self._moment + 1)

    def _settle(self, moment: int) -> None:
        open_until(self._desk, self._stream.moments, moment, self._prices)
        self._moment = moment
        now = Moment(self._stream.moments[moment], moment)
        self._prices.stand_at(now.ts_ns)
        self._desk.on_close(now)


def open_until(desk: Desk, moments: list[int], moment: int, prices: ClosePrices) -> None:
    """The opens, before a moment, that orders wait for."""
    while (ts_ns := desk.venue.next_open_ns) < moments[moment]:
        prices.stand_at(ts_ns)
        desk.on_open(Moment(ts_ns, bisect_right(moments, ts_ns), opened=True))


class SlowLane(FastLane):
    """Feeds everything to everyone: the reference that the fast lane is held to."""

    def _next_due(self) -> int:
        return self._moment + 1
