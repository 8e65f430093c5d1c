"""The columns that the report's charts draw, thinned so that no extreme is lost, and how they were thinned.

Times are milliseconds since the epoch, UTC, as browsers count; everything else keeps eight significant digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from backtest.contracts import BacktestResult, RoundTrip
from backtest.data.series import BarSeries
from backtest.metrics import Measured
from backtest.metrics.returns import DAY_NS, Floats, Ints, changes, daily_closes

CURVE_BUCKETS: Final = 1_500
MOST_BARS: Final = 50_000
MOST_TRADES: Final = 5_000
_MS: Final = 1_000_000
_HISTOGRAM_BARS: Final = 36
_EXPOSURE_BARS: Final = 370
_ROLLING_DAYS: Final = 30
_LEAST_DAYS: Final = 14


def chart_data(result: BacktestResult, measured: Measured, series: Sequence[BarSeries]) -> dict[str, Any]:
    """Everything that the page's script needs, as plain JSON values."""
    trips = _kept(result.round_trips)
    days, closes = daily_closes(measured.ts_ns, measured.equity)
    daily = 100.0 * changes(closes)
    return {
        "equity": _curve(measured.ts_ns, measured.equity),
        "drawdown": _curve(measured.ts_ns, -100.0 * measured.depth),
        "benchmark": _benchmark(result.initial_capital, series),
        "prices": [_bars(bars) for bars in series],
        "trades": _trades(trips),
        "period": "days" if measured.daily else "bars",
        "returns": histogram(100.0 * measured.returns),
        "trips": histogram(np.array([trip.return_pct for trip in result.round_trips if not trip.is_open])),
        "rolling": _rolling(days, daily, measured.periods_per_year),
        "exposure": _exposure(result.round_trips, measured.ts_ns),
    }


def thinned(values: Floats, buckets: int = CURVE_BUCKETS) -> Ints:
    """The indices of first, smallest, largest and last value of each of so many equal buckets, in order."""
    if len(values) <= 4 * buckets:
        return np.arange(len(values), dtype=np.int64)
    edges = np.linspace(0, len(values), buckets + 1).astype(np.int64)
    kept = [
        at
        for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        for at in (first, first + int(values[first:end].argmin()), first + int(values[first:end].argmax()), end - 1)
    ]
    return np.unique(np.array(kept, dtype=np.int64))


def coarser(series: BarSeries, most: int = MOST_BARS) -> tuple[BarSeries, int]:
    """The series in at most so many bars, each out of ``n`` successive ones with their highest and lowest price."""
    size = -(-len(series) // most)
    if size == 1:
        return series, 1
    starts = np.arange(0, len(series), size)
    ends = np.append(starts[1:], len(series)) - 1
    return BarSeries(
        series.symbol,
        series.timeframe,
        series.ts_open[starts],
        series.ts_close[ends],
        series.open[starts],
        np.maximum.reduceat(series.high, starts),
        np.minimum.reduceat(series.low, starts),
        series.close[ends],
        np.add.reduceat(series.volume, starts),
    ), size


def buy_and_hold(capital: float, series: Sequence[BarSeries]) -> tuple[Ints, Floats]:
    """Capital put in equal parts into every symbol at its first open and held, without costs, at each close."""
    times = np.unique(np.concatenate([bars.ts_close for bars in series]))
    worth = np.zeros(len(times))
    for bars in series:
        last = np.searchsorted(bars.ts_close, times, side="right") - 1
        worth += np.where(last < 0, 1.0, bars.close[np.maximum(last, 0)] / bars.open[0])
    return times, worth * (capital / len(series))


def histogram(values: Floats) -> dict[str, Any] | None:
    """Counts in bins of a round width, one edge at zero. Exact zeros are ``flat``, in no bin; None where all are."""
    flat = int((values == 0).sum())
    values = values[values != 0]
    if not len(values):
        return None
    width = _round_width((float(values.max()) - float(values.min())) / _HISTOGRAM_BARS)
    bins = np.floor(values / width).astype(np.int64)
    first = int(bins.min())
    return {
        "start": _json_number(first * width),
        "width": width,
        "counts": np.bincount(bins - first).tolist(),
        "flat": flat,
    }


def _round_width(width: float) -> float:
    if width <= 0:
        return 0.1
    scale = 10.0 ** np.floor(np.log10(width))
    return _json_number(next(step for step in (1, 2, 2.5, 5, 10) if step * scale >= width) * scale)


def _json_number(value: float) -> float:
    return float(f"{value:.8g}")


def _listed(values: Floats) -> list[float]:
    return [_json_number(value) for value in values.tolist()]


def _curve(ts_ns: Ints, values: Floats) -> dict[str, Any]:
    kept = thinned(values)
    return {"t": (ts_ns[kept] // _MS).tolist(), "y": _listed(values[kept]), "of": len(values)}


def _benchmark(capital: float, series: Sequence[BarSeries]) -> dict[str, Any] | None:
    return _curve(*buy_and_hold(capital, series)) if series else None


def _bars(series: BarSeries) -> dict[str, Any]:
    shown, size = coarser(series)
    columns = {name[0]: _listed(getattr(shown, name)) for name in ("open", "high", "low", "close")}
    times = (shown.ts_close // _MS).tolist()
    return {"symbol": series.symbol, "timeframe": series.timeframe, "merged": size, "t": times, **columns}


def _kept(trips: Sequence[RoundTrip]) -> Sequence[RoundTrip]:
    if len(trips) <= MOST_TRADES:
        return trips
    by_size = sorted(range(len(trips)), key=lambda at: -abs(trips[at].pnl))[:MOST_TRADES]
    return [trips[at] for at in sorted(by_size)]


def _trades(trips: Sequence[RoundTrip]) -> list[list[Any]]:
    return [
        [
            trip.symbol,
            trip.side,
            _json_number(trip.qty),
            trip.ts_open // _MS,
            trip.ts_close // _MS,
            _json_number(trip.price_open),
            _json_number(trip.price_close),
            _json_number(trip.pnl),
            _json_number(trip.fees),
            _json_number(trip.return_pct),
            int(trip.is_open),
            _json_number(trip.mae),
            _json_number(trip.mfe),
        ]
        for trip in trips
    ]


def _rolling(days: Ints, daily: Floats, per_year: float) -> Mapping[str, Any] | None:
    if len(daily) < _LEAST_DAYS:
        return None
    window = min(_ROLLING_DAYS, max(7, len(daily) // 3))
    slices = np.lib.stride_tricks.sliding_window_view(daily, window)
    mean, deviation = slices.mean(axis=1), slices.std(axis=1, ddof=1)
    moved = deviation > 1e-12
    sharpe = np.where(moved, mean / np.where(moved, deviation, 1.0), 0.0) * np.sqrt(per_year)
    return {
        "window": window,
        "t": ((days[window:] + 1) * (DAY_NS // _MS)).tolist(),
        "sharpe": _listed(sharpe),
        "volatility": _listed(deviation * np.sqrt(per_year)),
    }


def _exposure(trips: Sequence[RoundTrip], ts_ns: Ints) -> Mapping[str, Any] | None:
    """Share of each stretch of days with a long and with a short position, in percent."""
    if not trips or len(ts_ns) < 2:
        return None
    first, last = int(ts_ns[0]) // DAY_NS, (int(ts_ns[-1]) - 1) // DAY_NS
    size = -(-(last - first + 1) // _EXPOSURE_BARS)
    edges = np.arange(first, last + size + 1, size) * DAY_NS
    lengths = np.minimum(edges[1:], ts_ns[-1]) - np.maximum(edges[:-1], ts_ns[0])
    shares = {side: np.zeros(len(edges) - 1) for side in ("buy", "sell")}
    for trip in trips:
        covered = np.minimum(edges[1:], trip.ts_close) - np.maximum(edges[:-1], trip.ts_open)
        shares[trip.side] += np.maximum(covered, 0)
    t = (edges[:-1] // _MS).tolist()
    long, short = (
        _listed(np.minimum(100.0 * shares[side] / np.maximum(lengths, 1), 100.0)) for side in ("buy", "sell")
    )
    return {"days": size, "t": t, "long": long, "short": short}
