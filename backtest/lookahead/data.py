"""Slices of backtest data for the look-ahead detectors: up to a time, since a time, or with another future."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backtest.data.series import BarSeries, Floats, Ints
from backtest.data.trade_tape import TradeTape
from core.instruments import Instruments
from research.lookahead import Slicing

Data = tuple[BarSeries | TradeTape, ...]


def data_slicing(instruments: Instruments) -> Slicing[Data]:
    """The slicing of series and tapes. A bar is known at its close, a trade at its time.

    Rows are those of the shortest series.

    Args:
        instruments: a made-up future stays on their price steps.
    """

    def disturbed(data: Data, ts_ns: int, rng: np.random.Generator) -> Data:
        return tuple(_other_future(part, ts_ns, rng, float(instruments[part.symbol].tick_size)) for part in data)

    return Slicing(times=_times, until=_until, since=_since, disturbed=disturbed)


def moved(data: Data, by_ns: int) -> Data:
    """The same data, all its times moved by ``by_ns``."""
    return tuple(
        replace(part, ts_open=part.ts_open + by_ns, ts_close=part.ts_close + by_ns)
        if isinstance(part, BarSeries)
        else TradeTape(tuple(replace(trade, ts=trade.ts + by_ns) for trade in part.trades))
        for part in data
    )


def known_at(data: BarSeries | TradeTape) -> Ints:
    """The times at which the rows are known, UTC epoch ns."""
    if isinstance(data, BarSeries):
        return data.ts_close
    return np.array([trade.ts for trade in data.trades], dtype=np.int64)


def _times(data: Data) -> Ints:
    """Of the series with most rows, from where all of them have begun."""
    columns = [known_at(part) for part in data]
    longest = max(columns, key=len)
    return longest[np.searchsorted(longest, max(int(column[0]) for column in columns)) :]


def _until(data: Data, ts_ns: int) -> Data:
    return tuple(
        part.rows(0, int(np.searchsorted(part.ts_close, ts_ns, side="right")))
        if isinstance(part, BarSeries)
        else part.between(0, ts_ns + 1)
        for part in data
    )


def _since(data: Data, ts_ns: int) -> Data:
    """Bars that were half over at the time are left out, as they would be on a start at that time."""
    shortest = max((part for part in data if isinstance(part, BarSeries)), key=len, default=None)
    opened = ts_ns if shortest is None else int(shortest.ts_open[np.searchsorted(shortest.ts_close, ts_ns)])
    return tuple(
        part.rows(int(np.searchsorted(part.ts_open, opened)), len(part))
        if isinstance(part, BarSeries)
        else part.between(ts_ns, 0)
        for part in data
    )


def _other_future(
    data: BarSeries | TradeTape, ts_ns: int, rng: np.random.Generator, tick: float
) -> BarSeries | TradeTape:
    first = int(np.searchsorted(known_at(data), ts_ns, side="right"))
    return _other_bars(data, first, rng, tick) if isinstance(data, BarSeries) else _other_trades(data, first, rng, tick)


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
    columns_by_name = zip(
        ("open", "high", "low", "close", "volume"), (opens, highs, lows, close, series.volume[order]), strict=True
    )
    columns = (np.concatenate([getattr(series, name)[:first], column]) for name, column in columns_by_name)
    return BarSeries(series.symbol, series.timeframe, series.ts_open, series.ts_close, *columns)


def _other_trades(tape: TradeTape, first: int, rng: np.random.Generator, tick: float) -> TradeTape:
    later = tape.trades[first:]
    if not later:
        return tape
    prices = np.array([trade.price for trade in tape.trades])
    new_prices = _on_steps(_way(prices, first, rng), tick).tolist()
    order = rng.permutation(len(later)).tolist()
    other = [
        replace(later[i], price=price, qty=later[k].qty)
        for i, (price, k) in enumerate(zip(new_prices, order, strict=True))
    ]
    return TradeTape((*tape.trades[:first], *other))


def _way(prices: Floats, first: int, rng: np.random.Generator) -> Floats:
    """Prices after the first so many: a jump, then the changes that were, shuffled and turned round by chance."""
    last_price = prices[max(first - 1, 0)]
    changes = np.diff(np.log(prices[max(first - 1, 0) :]))
    changes = changes if first else np.concatenate([[0.0], changes])
    walk = rng.permutation(changes) * rng.choice((-1.0, 1.0), len(changes))
    path: Floats = last_price * np.exp(np.clip(rng.normal(0.0, 0.05) + np.cumsum(walk), -3.0, 3.0))
    return path


def _on_steps(prices: Floats, tick: float) -> Floats:
    on_grid: Floats = np.maximum(np.round(prices / tick), 1.0) * tick
    return np.round(on_grid, 12)
