"""Round trips: the fills of a run paired first in, first out, with the result of each pair."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from backtest.contracts import RoundTrip
from backtest.data.price_grid import PriceGrid
from backtest.fill_simulator import Booked
from core.contracts import Side
from core.instruments import Instrument
from core.position_ledger import fee_of_units


@dataclass(slots=True)
class _Open:
    """Lots of one fill that are not closed yet. ``fee`` is the share of the fill's fee that is theirs."""

    ts_ns: int
    lots: int
    ticks: int
    fee: int


class _Pair(NamedTuple):
    side: Side
    lots: int
    ts_open: int
    ts_close: int
    ticks_open: int
    ticks_close: int
    fee: int
    is_open: bool = False


def round_trips(booked: Sequence[Booked], grids: Mapping[str, PriceGrid]) -> tuple[RoundTrip, ...]:
    """The round trips of every symbol in order of closing, the open ones last, marked at the last close.

    A fill that closes several openings makes as many round trips; its fee is shared among them by lots, to the last
    unit. The worst and best results on the way are taken from the ranges of the bars that lie wholly within.
    """
    trips: list[RoundTrip] = []
    for symbol in sorted({fill.symbol for fill in booked}):
        pairs = _pairs([fill for fill in booked if fill.symbol == symbol], grids[symbol])
        trips += _shown(pairs, grids[symbol])
    return tuple(sorted(trips, key=lambda trip: (trip.is_open, trip.ts_close, trip.ts_open, trip.symbol)))


def _pairs(booked: Sequence[Booked], grid: PriceGrid) -> list[_Pair]:
    queue: deque[_Open] = deque()
    position, pairs = 0, []
    for fill in booked:
        remaining, fee = abs(fill.lots), fill.fee
        while remaining and position * fill.lots < 0:
            oldest = queue[0]
            lots = min(remaining, oldest.lots)
            paid, opening = fee * lots // remaining, oldest.fee * lots // oldest.lots
            side: Side = "buy" if position > 0 else "sell"
            pairs.append(_Pair(side, lots, oldest.ts_ns, fill.ts_ns, oldest.ticks, fill.ticks, paid + opening))
            remaining, fee = remaining - lots, fee - paid
            oldest.lots, oldest.fee = oldest.lots - lots, oldest.fee - opening
            if not oldest.lots:
                queue.popleft()
            position += lots if fill.lots > 0 else -lots
        if remaining:
            queue.append(_Open(fill.ts_ns, remaining, fill.ticks, fee))
            position += remaining if fill.lots > 0 else -remaining
    last, ticks = grid.closes_at[-1], int(grid.close[-1])
    side = "buy" if position > 0 else "sell"
    pairs += [_Pair(side, o.lots, o.ts_ns, last, o.ticks, ticks, o.fee, is_open=True) for o in queue]
    return pairs


def _shown(pairs: Sequence[_Pair], grid: PriceGrid) -> list[RoundTrip]:
    lowest, highest = _extremes(pairs, grid)
    trips = []
    for pair, low, high in zip(pairs, lowest, highest, strict=True):
        trips.append(_trip(pair, low, high, grid.instrument))
    return trips


def _trip(pair: _Pair, low: int, high: int, instrument: Instrument) -> RoundTrip:
    direction = 1 if pair.side == "buy" else -1
    worst, best = (low, high) if direction > 0 else (high, low)
    gross = direction * pair.lots * (pair.ticks_close - pair.ticks_open)
    fees = fee_of_units(pair.fee)
    return RoundTrip(
        symbol=instrument.symbol,
        side=pair.side,
        qty=instrument.qty(pair.lots),
        ts_open=pair.ts_open,
        ts_close=pair.ts_close,
        price_open=instrument.price(pair.ticks_open),
        price_close=instrument.price(pair.ticks_close),
        pnl=instrument.money(gross) - fees,
        fees=fees,
        is_open=pair.is_open,
        mae=instrument.money(direction * pair.lots * (worst - pair.ticks_open)),
        mfe=instrument.money(direction * pair.lots * (best - pair.ticks_open)),
    )


def _extremes(pairs: Sequence[_Pair], grid: PriceGrid) -> tuple[list[int], list[int]]:
    """Lowest and highest ticks of each pair's bars, its own two prices included."""
    if not pairs:
        return [], []
    series = grid.series
    opened, closed = (np.array([getattr(p, name) for p in pairs], dtype=np.int64) for name in ("ts_open", "ts_close"))
    first = np.searchsorted(series.ts_open, opened, side="left")
    last = np.searchsorted(series.ts_close, closed, side="right")
    prices = np.array([(p.ticks_open, p.ticks_close) for p in pairs], dtype=np.int64)
    lows, highs = prices.min(axis=1), prices.max(axis=1)
    some = first < last
    if some.any():
        bounds = np.column_stack([first[some], last[some]]).ravel()
        low, high = np.append(grid.low, np.int64(2**62)), np.append(grid.high, np.int64(0))
        lows[some] = np.minimum(lows[some], np.minimum.reduceat(low, bounds)[::2])
        highs[some] = np.maximum(highs[some], np.maximum.reduceat(high, bounds)[::2])
    return lows.tolist(), highs.tolist()
