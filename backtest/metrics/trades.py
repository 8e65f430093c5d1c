"""Figures on round trips: their number, results, duration and cost.

Profits and losses are in quote currency after fees, losses negative. A trade of exactly zero is neither won nor lost.
Times are UTC epoch nanoseconds. Every function answers a finite number, 0 where there are no trades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt

from backtest.contracts import RoundTrip
from backtest.metrics.returns import Floats, Ints, ratio

_HOUR_NS: Final = 3_600_000_000_000
MUCH: Final = 1.05
"""Times the capital: more than this in the market is borrowed, less may be the price that moved."""


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Round trips as columns, in the order given; ``closed`` masks out those still open at the end."""

    ts_open: Ints
    ts_close: Ints
    notional: Floats
    fees: Floats
    pnl: Floats
    closed: npt.NDArray[np.bool_]


def trades_of(round_trips: Sequence[RoundTrip]) -> Trades:
    """The columns of the trips; ``notional`` is what was traded, on opening and, once closed, on closing."""
    rows = [
        (
            trip.ts_open,
            trip.ts_close,
            trip.qty * (trip.price_open + (0.0 if trip.is_open else trip.price_close)),
            trip.fees,
            trip.pnl,
            not trip.is_open,
        )
        for trip in round_trips
    ]
    ts_open, ts_close, notional, fees, pnl, closed = zip(*rows, strict=True) if rows else ((),) * 6
    return Trades(
        np.array(ts_open, dtype=np.int64),
        np.array(ts_close, dtype=np.int64),
        np.array(notional, dtype=np.float64),
        np.array(fees, dtype=np.float64),
        np.array(pnl, dtype=np.float64),
        np.array(closed, dtype=np.bool_),
    )


def largest_position(round_trips: Sequence[RoundTrip]) -> float:
    """The most that was in the market at once, at the prices it was opened at; long and short add up."""
    steps = sorted(
        step
        for trip in round_trips
        for step in (
            (trip.ts_open, 1, trip.qty * trip.price_open),
            (trip.ts_close, 2 if trip.ts_close == trip.ts_open else 0, -trip.qty * trip.price_open),
        )
    )
    return max(accumulate(amount for _, _, amount in steps), default=0.0)


def win_rate(pnl: Floats) -> float:
    """Fraction of trades with a profit."""
    return float((pnl > 0).mean()) if len(pnl) else 0.0


def profit_factor(pnl: Floats) -> float:
    """Gross profit over gross loss; ``UNBOUNDED`` when nothing was lost."""
    return ratio(float(pnl[pnl > 0].sum()), -float(pnl[pnl < 0].sum()))


def avg_win(pnl: Floats) -> float:
    """Mean of the profits."""
    wins = pnl[pnl > 0]
    return float(wins.mean()) if len(wins) else 0.0


def avg_loss(pnl: Floats) -> float:
    """Mean of the losses, a negative number."""
    losses = pnl[pnl < 0]
    return float(losses.mean()) if len(losses) else 0.0


def largest_win(pnl: Floats) -> float:
    """The largest profit."""
    return max(float(pnl.max()), 0.0) if len(pnl) else 0.0


def largest_loss(pnl: Floats) -> float:
    """The largest loss, a negative number."""
    return min(float(pnl.min()), 0.0) if len(pnl) else 0.0


def payoff_ratio(pnl: Floats) -> float:
    """Mean profit over mean loss; ``UNBOUNDED`` when nothing was lost."""
    return ratio(avg_win(pnl), -avg_loss(pnl))


def expectancy(pnl: Floats) -> float:
    """Mean profit or loss of a trade."""
    return float(pnl.mean()) if len(pnl) else 0.0


def longest_streak(hits: npt.NDArray[np.bool_]) -> int:
    """The longest run of True."""
    misses = np.flatnonzero(~np.concatenate(([False], hits, [False])))
    return int(np.diff(misses).max()) - 1


def holding_hours(trades: Trades) -> Floats:
    """How long each closed trade was held."""
    return (trades.ts_close - trades.ts_open)[trades.closed] / _HOUR_NS


def exposure_pct(trades: Trades, start_ns: int, end_ns: int) -> float:
    """Share of the time in percent with at least one position; what overlaps counts once."""
    if not len(trades.ts_open) or end_ns <= start_ns:
        return 0.0
    order = np.argsort(trades.ts_open, kind="stable")
    opens, closes = (np.clip(times[order], start_ns, end_ns) for times in (trades.ts_open, trades.ts_close))
    covered = np.concatenate(([start_ns], np.maximum.accumulate(closes)[:-1]))
    return 100.0 * float(np.maximum(closes - np.maximum(opens, covered), 0).sum()) / (end_ns - start_ns)


def turnover_annual(trades: Trades, mean_equity: float, years: float) -> float:
    """Traded notional over the mean equity, per year: 12 means that the capital was bought or sold twelve times."""
    return ratio(float(trades.notional.sum()), max(mean_equity, 0.0) * years) if years > 0 else 0.0


def trades_per_year(trades: Trades, years: float) -> float:
    """Closed trades per year at this pace."""
    return ratio(float(trades.closed.sum()), years) if years > 0 else 0.0
