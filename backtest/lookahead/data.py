"""Backtest data as the look-ahead detectors take it apart: known up to a time, since a time, or with another future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backtest.data.series import BarSeries, Floats, Ints
from backtest.data.trade_tape import TradeTape
from core.instruments import Instruments
from research.lookahead import Slicing

Data = tuple[BarSeries | TradeTape, ...]


def data_slicing(instruments: Instruments) -> Slicing[Data]:
    """Of series and tapes. A bar is known at its close, a trade at its time; rows are those of the shortest series.

    Args:
        instruments: a made-up future stays on their price steps.
    """

    def disturbed(data: Data, ts_ns: int, rng: np.random.Generator) -> Data:
        return tuple(_other_future(each, ts_ns, rng, float(instruments[each.symbol].tick_size)) for each in data)

    return Slicing(times=_times, until=_until, since=_since, disturbed=disturbed)


def moved(data: Data, by_ns: int) -> Data:
    """The same, so much later."""
    return tuple(
        replace(each, ts_open=each.ts_open + by_ns, ts_close=each.ts_close + by_ns)
        if isinstance(each, BarSeries)
        else TradeTape(tuple(replace(trade, ts=trade.ts + by_ns) for trade in each.trades))
        for each in data
    )


def known_at(one: BarSeries | TradeTape) -> Ints:
    """When each row is known."""
    if isinstance(one, BarSeries):
        return one.ts_close
    return np.array([trade.ts for trade in one.trades], dtype=np.int64)


def _times(data: Data) -> Ints:
    """Of the series with most rows, from where all of them have begun."""
    columns = [known_at(each) for each in data]
    longest = max(columns, key=len)
    return longest[np.searchsorted(longest, max(int(column[0]) for column in columns)) :]


def _until(data: Data, ts_ns: int) -> Data:
    return tuple(
        each.rows(0, int(np.searchsorted(each.ts_close, ts_ns, side="right")))
        if isinstance(each, BarSeries)
        else each.between(0, ts_ns + 1)
        for each in data
    )


def _since(data: Data, ts_ns: int) -> Data:
    """Bars that were half over at the time are left out, as they would be on a start at that time."""
    shortest = max((each for each in data if isinstance(each, BarSeries)), key=len, default=None)
    opened = ts_ns if shortest is None else int(shortest.ts_open[np.searchsorted(shortest.ts_close, ts_ns)])
    return tuple(
        each.rows(int(np.searchsorted(each.ts_open, opened)), len(each))
        if isinstance(each, BarSeries)
        else each.between(ts_ns, 0)
        for each in data
    )


def _other_future(
    one: BarSeries | TradeTape, ts_ns: int, rng: np.random.Generator, tick: float
) -> BarSeries | TradeTape:
    first = int(np.searchsorted(known_at(one), ts_ns, side="right"))
    return _other_bars(one, first, rng, tick) if isinstance(one, BarSeries) else _other_trades(one, first, rng, tick)


def _other_bars(series: BarSeries, first: int, rng: np.random.Generator, tick: float) -> BarSeries:
    """The shapes of the later bars in another order, along another way from the last close."""
    later = len(series) - first
    if not later:
        return series
    order = first + rng.permutation(later)
    close = _way(series.close, first, rng)
    shape = close / series.close[order]
    opens, highs, lows = (getattr(series, name)[order] * shape for name in ("open", "high", "low"))
    opens, highs, lows, close = (_on_steps(column, tick) for column in (opens, highs, lows, close))
    highs, lows = np.maximum.reduce([highs, opens, close]), np.minimum.reduce([lows, opens, close])
    made = zip(
        ("open", "high", "low", "close", "volume"), (opens, highs, lows, close, series.volume[order]), strict=True
    )
    columns = (np.concatenate([getattr(series, name)[:first], column]) for name, column in made)
    return BarSeries(series.symbol, series.timeframe, series.ts_open, series.ts_close, *columns)


def _other_trades(tape: TradeTape, first: int, rng: np.random.Generator, tick: float) -> TradeTape:
    later = tape.trades[first:]
    if not later:
        return tape
    prices = np.array([trade.price for trade in tape.trades])
    made = _on_steps(_way(prices, first, rng), tick).tolist()
    order = rng.permutation(len(later)).tolist()
    other = [
        replace(later[i], price=price, qty=later[k].qty) for i, (price, k) in enumerate(zip(made, order, strict=True))
    ]
    return TradeTape((*tape.trades[:first], *other))


def _way(prices: Floats, first: int, rng: np.random.Generator) -> Floats:
    """Prices after the first so many: a jump, then the changes that were, shuffled and turned round by chance."""
    before = prices[max(first - 1, 0)]
    changes = np.diff(np.log(prices[max(first - 1, 0) :]))
    changes = changes if first else np.concatenate([[0.0], changes])
    walk = rng.permutation(changes) * rng.choice((-1.0, 1.0), len(changes))
    made: Floats = before * np.exp(np.clip(rng.normal(0.0, 0.05) + np.cumsum(walk), -3.0, 3.0))
    return made


def _on_steps(prices: Floats, tick: float) -> Floats:
    whole: Floats = np.maximum(np.round(prices / tick), 1.0) * tick
    return np.round(whole, 12)
