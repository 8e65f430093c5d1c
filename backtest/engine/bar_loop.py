"""The bar loops: the fast one that skips the moments that cannot matter, and the reference one that skips none.

Between two moments that may matter, the fast loop makes one call of the strategy per bar and nothing else. A property
test holds both to the same bytes.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Final

from backtest.data.price_grid import PriceGrid
from backtest.engine.clock_stream import ClockStream
from backtest.engine.order_router import OrderRouter
from backtest.engine.slots import StrategySlot
from backtest.errors import StrategyFailedError
from backtest.fill_simulator import Moment
from core.contracts import OHLCVBar, OrderCancel, OrderIntent

_NS_FAR: Final = 2**63 - 1
Answers = list[OrderIntent | OrderCancel]
Routes = tuple[tuple[StrategySlot, ...], ...]  # by series of the stream


class ClosePrices(Mapping[str, float]):
    """Last prices as strategies see them: the latest close, looked up on demand instead of kept at every bar."""

    def __init__(self, grids: Mapping[str, PriceGrid]) -> None:
        self._grids = grids
        self._now_ns = 0
        self._current_bar: Callable[[], OHLCVBar] | None = None

    def set_time(self, ts_ns: int) -> None:
        """Show the prices of a fixed time."""
        self._now_ns, self._current_bar = ts_ns, None

    def follow(self, current_bar: Callable[[], OHLCVBar]) -> None:
        """Show the prices of the close of the bar that the loop is at, until ``set_time``."""
        self._current_bar = current_bar

    @property
    def now_ns(self) -> int:
        """The time whose prices are shown."""
        return self._now_ns if self._current_bar is None else self._current_bar().ts_close

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


class FastBarLoop:
    """Runs the stream: bars to strategies, and in between the moments at which router and venue have work.

    ``position`` counts the bars that the strategies have been given. ``_upcoming`` is the iterator over the rest, so
    that a stretch of bars without answers costs one call of the strategy each.
    """

    def __init__(self, stream: ClockStream, routes: Routes, router: OrderRouter, prices: ClosePrices) -> None:
        self.position = 0
        self._stream = stream
        self._routes = routes
        self._router = router
        self._prices = prices
        self._upcoming: Iterator[OHLCVBar] = iter(stream.events)
        self._settled = -1  # the latest moment whose prices are known and whose bars are matched

    def run(self) -> None:
        """From the first bar to the last. Raises StrategyFailedError, EndlessAnswersError."""
        stream, end = self._stream, len(self._stream)
        due = self._next_due()
        while self.position < end:
            if self.position == stream.starts[due]:
                self._settle(due)
                due = self._next_due()
            if answers := self._feed_until(stream.starts[due]):
                self._settled = moment = stream.moment_of(self.position - 1)
                self._router.handle(answers, Moment(stream.moments[moment], moment))
                due = self._next_due()

    def _feed_until(self, stop: int) -> Answers:
        """Give bars to the strategies up to a position, or until a strategy answers. Moves ``position``."""
        if len(self._routes) == 1 and len(self._routes[0]) == 1:
            return self._feed_one(self._routes[0][0], stop)
        return self._feed_all(stop)

    def _feed_one(self, slot: StrategySlot, stop: int) -> Answers:
        """The usual case: one series, one strategy."""
        on_event, bar = slot.on_event, self._stream.events[self.position]
        self._prices.follow(lambda: bar)
        try:
            for bar in islice(self._upcoming, stop - self.position):
                answered = on_event(bar)
                if answered and (admitted := slot.admitted(answered, bar)):
                    self.position = bisect_right(self._stream.moments, bar.ts_close)  # one series: a bar a moment
                    return admitted
        except StrategyFailedError:
            raise
        except Exception as error:
            raise StrategyFailedError(slot.strategy_id, bar, error) from error
        self.position = stop
        return []

    def _feed_all(self, stop: int) -> Answers:
        """Several strategies or series: a bar's answers are those of everyone it is for, in the order of ids."""
        bar = self._stream.events[self.position]
        self._prices.follow(lambda: bar)
        for bar in islice(self._upcoming, stop - self.position):
            slots = self._routes[self._stream.series_of(self.position)]
            self.position += 1
            if answers := [answer for slot in slots for answer in slot.call(bar)]:
                return answers
        return []

    def _next_due(self) -> int:
        """The first moment after the settled one at which more than the strategies' bars may happen."""
        moments, router = self._stream.moments, self._router
        after_ns = moments[self._settled] if self._settled >= 0 else 0
        open_ns = router.venue.next_open_ns + 1  # opens are past once a later moment begins
        due_ns = min(open_ns, router.venue.next_reach_ns(after_ns), router.risk_check.next_ns(after_ns))
        return bisect_left(moments, due_ns, self._settled + 1)

    def _settle(self, moment: int) -> None:
        open_until(self._router, self._stream.moments, moment, self._prices)
        self._settled = moment
        now = Moment(self._stream.moments[moment], moment)
        self._prices.set_time(now.ts_ns)
        self._router.on_close(now)


def open_until(router: OrderRouter, moments: list[int], moment: int, prices: ClosePrices) -> None:
    """Process the opens, before a moment, that orders wait for."""
    while (ts_ns := router.venue.next_open_ns) < moments[moment]:
        prices.set_time(ts_ns)
        router.on_open(Moment(ts_ns, bisect_right(moments, ts_ns), opened=True))


class ReferenceBarLoop(FastBarLoop):
    """Settles every moment: the reference that the fast loop is held to."""

    def _next_due(self) -> int:
        return self._settled + 1
