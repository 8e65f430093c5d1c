"""Made-up backtest results for tests: bars, trades on them and the equity curve that follows from both."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np

from backtest.contracts import BacktestConfig, BacktestResult, FillTiming, Fingerprints, RoundTrip
from backtest.data.fingerprints import of_data
from backtest.data.series import BarSeries
from backtest.metrics import calculate_metrics
from core.contracts import Side

MINUTE_NS: Final = 60_000_000_000
DAY_NS: Final = 1_440 * MINUTE_NS
START_NS: Final = 1_640_995_200_000_000_000  # 2022-01-01
CAPITAL: Final = 100_000.0


def curve_of(*daily: float, start_ns: int = START_NS) -> list[tuple[int, float]]:
    """An equity curve of one point at every UTC midnight."""
    return [(start_ns + day * DAY_NS, value) for day, value in enumerate(daily)]


def trip(pnl: float, *, hour: float = 0.0, hours: float = 1.0, **changed: Any) -> RoundTrip:
    """A round trip of 1 BTC at 40,000 with this result, ``hour`` hours after the start and ``hours`` long."""
    opened = START_NS + round(hour * 60) * MINUTE_NS
    plain: dict[str, Any] = {
        "symbol": "BTC/USD",
        "side": "buy",
        "qty": 1.0,
        "ts_open": opened,
        "ts_close": opened + round(hours * 60) * MINUTE_NS,
        "price_open": 40_000.0,
        "price_close": 40_000.0 + pnl,
        "pnl": pnl,
        "fees": 0.0,
    }
    return RoundTrip(**{**plain, **changed})


def series_of(bars: int, *, seed: int = 1, minutes: int = 1, symbol: str = "BTC/USD") -> BarSeries:
    """A random walk in bars of so many minutes, on a tick of 0.5."""
    rng = np.random.default_rng(seed)
    close = 46_000.0 * np.exp(np.cumsum(rng.normal(0.0, 0.0006 * minutes**0.5, bars)))
    opened = np.concatenate(([46_000.0], close[:-1]))
    wick = np.abs(rng.normal(0.0, 12.0 * minutes**0.5, (2, bars)))
    high, low = np.maximum(opened, close) + wick[0], np.minimum(opened, close) - wick[1]
    opened, high, low, close = (np.round(column * 2) / 2 for column in (opened, high, low, close))
    ts_open = START_NS + np.arange(bars, dtype=np.int64) * MINUTE_NS * minutes
    volume = rng.integers(1, 900, bars).astype(np.float64)
    return BarSeries(symbol, f"{minutes}m", ts_open, ts_open + MINUTE_NS * minutes, opened, high, low, close, volume)


def result_of(
    series: BarSeries | None = None, *, every: int = 73, seed: int = 7, qty: float = 1.0, **changed: Any
) -> BacktestResult:
    """A run that opens and closes a position about every so many bars, at closes; the last one stays open."""
    series = series_of(2_000) if series is None else series
    rng = np.random.default_rng(seed)
    cash, position, costs, trips = CAPITAL, 0.0, 0.0, list[RoundTrip]()
    equity = np.empty(len(series))
    rate, opened, held = 0.0004, 0, 0
    side: Side = "buy"
    for bar in range(len(series)):
        price = float(series.close[bar])
        if position and (bar - opened) >= held:
            trips.append(_closed(series, opened, bar, side, qty, rate))
            cash, position = cash + position * price - qty * price * rate, 0.0
            costs += qty * price * rate
        elif not position and bar % every == every - 1:
            opened, held = bar, int(rng.integers(5, every - 2))
            side = "sell" if rng.random() < 0.3 else "buy"
            position = qty if side == "buy" else -qty
            cash, costs = cash - position * price - qty * price * rate, costs + qty * price * rate
        equity[bar] = cash + position * price
    if position:
        last = _closed(series, opened, len(series) - 1, side, qty, rate)
        unpaid = qty * rate * last.price_close
        trips.append(replace(last, is_open=True, pnl=last.pnl + unpaid, fees=last.fees - unpaid))
    curve = [(int(at), float(value)) for at, value in zip(series.ts_close, equity, strict=True)]
    metrics = calculate_metrics(curve, trips, initial_capital=CAPITAL)
    plain: dict[str, Any] = {
        "strategy_id": "sma_cross",
        "symbol": series.symbol,
        "start_ts": int(series.ts_open[0]),
        "end_ts": int(series.ts_close[-1]),
        "initial_capital": CAPITAL,
        "final_capital": curve[-1][1],
        **{name: metrics[name] for name in ("total_return_pct", "sharpe_ratio", "max_drawdown_pct")},
        **{name: metrics[name] for name in ("win_rate", "profit_factor")},
        "num_trades": int(metrics["num_trades"]),
        "equity_curve": curve,
        "config": BacktestConfig(
            symbol=series.symbol,
            strategy_id="sma_cross",
            start_ts=int(series.ts_open[0]),
            end_ts=int(series.ts_close[-1]) + 1,
            initial_capital=CAPITAL,
            commission_rate=rate,
            slippage_bps=1.0,
            fill_timing=FillTiming.NEXT_OPEN,
            params={"fast": 10, "slow": 50},
            timeframes=(series.timeframe,),
            seed=seed,
        ),
        "metrics": metrics,
        "round_trips": tuple(trips),
        "fees_paid": costs,
        "bars": len(series),
        "fingerprints": Fingerprints(data=of_data([series]), config="c0" * 32, code="de" * 32, orders="0a" * 32),
    }
    return BacktestResult(**{**plain, **changed})


def _closed(series: BarSeries, opened: int, closed: int, side: Side, qty: float, rate: float) -> RoundTrip:
    entry, price = float(series.close[opened]), float(series.close[closed])
    sign = 1.0 if side == "buy" else -1.0
    fees = qty * rate * (entry + price)
    held = slice(min(opened + 1, closed), closed + 1)
    low, high = float(series.low[held].min()), float(series.high[held].max())
    worst, best = (low, high) if sign > 0 else (high, low)
    return RoundTrip(
        symbol=series.symbol,
        side=side,
        qty=qty,
        ts_open=int(series.ts_close[opened]),
        ts_close=int(series.ts_close[closed]),
        price_open=entry,
        price_close=price,
        pnl=sign * qty * (price - entry) - fees,
        fees=fees,
        mae=sign * qty * (worst - entry),
        mfe=sign * qty * (best - entry),
    )
