"""A plausible market out of a seed: regimes of trend and reversion, bursts of trades, heavy tails, a book that is hit.

The same seed gives the same bytes on every machine: only additions, multiplications, divisions and square roots,
which IEEE fixes to the last bit, and Python's own generator.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from random import Random
from typing import Final

from core.clock import NS_PER_MS, NS_PER_S
from core.contracts import BboEvent, BookEvent, Contract, Level, Side, TradeEvent
from core.instruments import Instrument, Instruments
from core.market.book import DEPTH, book_checksum

SYNTHETIC_VENUE: Final = "synthetic"
GENERATION: Final = 2  # raised whenever the same seed gives other events
START_NS: Final = 1_704_153_600 * NS_PER_S  # 2024-01-02 00:00:00 UTC
_LATENCY_NS: Final = 5 * NS_PER_MS  # from the venue's time to ours
_START_PRICES: Final = {"BTC": 60_000.0, "ETH": 2_600.0, "ATOM": 7.0, "SOL": 150.0, "LTC": 70.0, "BNB": 550.0}
_FALLBACK_TICKS: Final = 50_000  # start price of any other currency
_LOWEST_TICKS: Final = 200  # the price is turned round before it gets there

_QUOTE_S: Final = 1.2  # mean time between two quotes
_TRADE_S: Final = 0.65  # scale of the time between two market orders when calm
_LONGEST_QUIET_S: Final = 20.0
_BURST_MEMORY_S: Final = 4.0  # over which one order's excitement halves
_MEDIAN_NOTIONAL: Final = 400.0  # of a market order, in quote currency
_LARGEST_FACTOR: Final = 400.0  # of a market order over the median
_LEVEL_FACTOR: Final = 6.0  # quantity of a level over the median market order
_HALF_LIFE_S: Final = 240.0  # of the distance to the anchor in a reverting regime


@dataclass(frozen=True, slots=True)
class Regime:
    """How the price moves for some minutes. Drift and volatility are fractions per second and per root second;
    ``pull`` is how strongly it returns to where the regime began; ``spread_bps`` the quoted spread."""

    name: str
    drift: float
    volatility: float
    pull: float
    activity: float
    spread_bps: float


REGIMES: Final = (
    Regime("calm", 0.0, 0.00005, 0.3, 0.7, 0.4),
    Regime("ranging", 0.0, 0.00016, 1.0, 1.0, 0.6),
    Regime("rising", 0.000022, 0.00010, 0.0, 1.3, 0.6),
    Regime("falling", -0.000022, 0.00010, 0.0, 1.3, 0.7),
    Regime("turbulent", 0.0, 0.00035, 0.5, 2.2, 1.5),
)
_NEXT: Final = (  # out of each regime, how often each follows, in tenths
    (0, 4, 2, 2, 2),
    (2, 0, 3, 3, 2),
    (2, 4, 0, 2, 2),
    (2, 4, 2, 0, 2),
    (4, 2, 2, 2, 0),
)


class SyntheticMarket:
    """Endless trades and books of several symbols, ordered by time. Symbols do not influence each other: adding
    one leaves the others as they are."""

    def __init__(
        self, seed: int, instruments: Instruments, symbols: Sequence[str], *, start_ns: int = START_NS
    ) -> None:
        self.seed = seed
        self.symbols = tuple(symbols)
        self._instruments = instruments
        self._start_ns = start_ns

    def events(self, duration_ns: int | None = None) -> Iterator[TradeEvent | BookEvent]:
        """Trades with ids from 1 and order books, by time; for so long, or without end."""
        return (event for event in self.all_events(duration_ns) if type(event) is not BboEvent)  # type: ignore[misc]  # the type is excluded

    def all_events(self, duration_ns: int | None = None) -> Iterator[TradeEvent | BookEvent | BboEvent]:
        """The same with the best bid and offer after each change of it."""
        end_ns = None if duration_ns is None else self._start_ns + duration_ns
        pairs = [_Pair(self.seed, self._instruments[symbol], self._start_ns) for symbol in self.symbols]
        for event in heapq.merge(*(pair.events() for pair in pairs), key=_time_of):
            if end_ns is not None and event.ts >= end_ns:
                return
            yield event


def _time_of(event: Contract) -> int:
    return event.ts_ns


class _Pair:
    """One symbol: a fair price that drifts by regime, quotes around it, market orders that eat them."""

    def __init__(self, seed: int, instrument: Instrument, start_ns: int) -> None:
        self._random = Random(f"{seed}/{instrument.symbol}")
        self._uniform = self._random.random
        self._symbol = instrument.symbol
        self._tick = instrument.tick_size.as_integer_ratio()
        self._lot = instrument.lot_size.as_integer_ratio()
        tick = float(instrument.tick_size)
        self._fair = _START_PRICES.get(instrument.base, _FALLBACK_TICKS * tick) / tick  # in ticks
        self._lots_of_median = _MEDIAN_NOTIONAL / (self._fair * tick) / float(instrument.lot_size)
        self._now = start_ns
        self._regime = 1
        self._regime_until = start_ns
        self._anchor = self._fair
        self._excitement = 0.0
        self._trade_id = 0
        self._update_id = 0
        self._bids: list[list[int]] = []  # [ticks, lots], best first
        self._asks: list[list[int]] = []

    def events(self) -> Iterator[TradeEvent | BookEvent | BboEvent]:
        next_quote = self._now
        next_order = self._now + self._until_order()
        quoted = self._now
        while True:
            if next_quote <= next_order:
                self._move((next_quote - quoted) / NS_PER_S)
                self._now = quoted = next_quote
                self._quote()
                self._update_id += 1
                yield self._book()
                yield from self._best()
                next_quote += int(_QUOTE_S * (0.25 + 1.5 * self._uniform()) * NS_PER_S)
            else:
                self._now = next_order
                trades, best_moved = self._order()
                yield from trades
                self._update_id += 1
                if best_moved:
                    yield self._book()
                yield from self._best()
                next_order += self._until_order()
                self._excitement += 0.75

    def _normal(self) -> float:
        """Near enough to a normal variable of variance one: four uniforms, no logarithm."""
        u = self._uniform
        return (u() + u() + u() + u() - 2.0) * 1.7320508075688772

    def _until_order(self) -> int:
        """Nanoseconds until the next market order: heavy-tailed, and shorter the more has just been going on."""
        u = self._uniform()
        pace = REGIMES[self._regime].activity * (1.0 + self._excitement)
        seconds = min(_TRADE_S * u / (1.001 - u) / pace, _LONGEST_QUIET_S)
        self._excitement *= _BURST_MEMORY_S / (_BURST_MEMORY_S + 3.0 * seconds)
        return NS_PER_MS + int(seconds * 1000.0) * NS_PER_MS

    def _move(self, seconds: float) -> None:
        """Let the fair price go on, and change the regime when its time is over."""
        if self._now >= self._regime_until:
            self._change_regime()
        regime = REGIMES[self._regime]
        shock = self._normal()
        if self._uniform() < 0.004:
            shock *= 4.0  # news
        change = regime.drift * seconds + regime.volatility * sqrt(seconds) * shock
        self._fair *= 1.0 + change
        self._fair += (self._anchor - self._fair) * regime.pull * min(seconds / _HALF_LIFE_S, 1.0)
        if self._fair < _LOWEST_TICKS:
            self._fair = 2.0 * _LOWEST_TICKS - self._fair

    def _change_regime(self) -> None:
        at = int(self._uniform() * 10.0)
        for following, weight in enumerate(_NEXT[self._regime]):
            at -= weight
            if at < 0:
                self._regime = following
                break
        self._regime_until = self._now + int((120.0 + 480.0 * self._uniform()) * NS_PER_S)
        self._anchor = self._fair

    def _quote(self) -> None:
        """New levels on both sides of the fair price."""
        u = self._uniform
        spread = max(1, int(self._fair * REGIMES[self._regime].spread_bps * (0.4 + 1.2 * u()) / 10_000.0))
        bid = int(self._fair - spread / 2.0)
        step = max(1, spread // 3)
        self._bids = self._levels(bid, -step)
        self._asks = self._levels(bid + spread, step)

    def _levels(self, ticks: int, step: int) -> list[list[int]]:
        u, median = self._uniform, self._lots_of_median * _LEVEL_FACTOR
        out: list[list[int]] = []
        for depth in range(DEPTH):
            out.append([ticks, 1 + int(median * (0.1 + u() * u() * (2.0 + 0.25 * depth)))])
            ticks += step * (1 + int(3.0 * u()))
        return [level for level in out if level[0] > 0]

    def _order(self) -> tuple[list[TradeEvent], bool]:
        """A market order and the trades it makes, level by level; whether it moved the best price."""
        u = self._uniform
        # Who takes leans the way that the price goes.
        lean = 0.5 + REGIMES[self._regime].drift * 4_000.0 + (0.06 if self._fair > self._anchor else -0.06) * 0.5
        side: Side = "buy" if u() < lean else "sell"
        levels = self._asks if side == "buy" else self._bids
        factor = min(0.5 / sqrt(u() + 1e-9) * (0.2 + 1.6 * u()), _LARGEST_FACTOR)
        remaining = 1 + int(self._lots_of_median * factor * factor)
        trades: list[TradeEvent] = []
        moved = False
        while remaining and len(levels) > 1:
            ticks, lots = levels[0]
            taken = min(lots, remaining)
            trades.append(self._trade(ticks, taken, side))
            remaining -= taken
            if taken == lots:
                del levels[0]
                moved = True
            else:
                levels[0][1] -= taken
        return trades, moved

    def _trade(self, ticks: int, lots: int, side: Side) -> TradeEvent:
        self._trade_id += 1
        return TradeEvent(
            self._symbol,
            self._price(ticks),
            self._qty(lots),
            side,
            self._now,
            str(self._trade_id),
            SYNTHETIC_VENUE,
            self._now + _LATENCY_NS,
        )

    def _book(self) -> BookEvent:
        bids = self._levels_of(self._bids)
        asks = self._levels_of(self._asks)
        checksum = book_checksum(bids, asks)
        receipt = self._now + _LATENCY_NS
        return BookEvent(self._symbol, bids, asks, checksum, self._now, self._update_id, SYNTHETIC_VENUE, receipt)

    def _best(self) -> Iterator[BboEvent]:
        """The best bid and offer; nothing while a side is empty."""
        if self._bids and self._asks:
            (bid, bid_lots), (ask, ask_lots) = self._bids[0], self._asks[0]
            best = (self._price(bid), self._qty(bid_lots), self._price(ask), self._qty(ask_lots))
            receipt = self._now + _LATENCY_NS
            yield BboEvent(self._symbol, *best, self._update_id, self._now, SYNTHETIC_VENUE, receipt)

    def _levels_of(self, levels: list[list[int]]) -> tuple[Level, ...]:
        return tuple([(self._price(ticks), self._qty(lots)) for ticks, lots in levels])

    def _price(self, ticks: int) -> float:
        # Division of integers is rounded correctly: the float nearest to the exact decimal.
        return ticks * self._tick[0] / self._tick[1]

    def _qty(self, lots: int) -> float:
        return lots * self._lot[0] / self._lot[1]
