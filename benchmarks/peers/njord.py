"""Ours, and the floors beside it: what one run over the bars takes in each of our engines, and in nothing at all.

``bare`` is the same strategy as one Python method per bar that books its own fills, ``call`` a method that does
nothing, ``step`` the kernel's own step in a compiled loop, ``numba`` a compiled loop over the closes that needs no
state, ``numba_kept`` the same that writes down fills and equity. None of them has orders, times, risk, metrics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from benchmarks.peers.protocol import CAPITAL, COMMISSION, Answer, Bars, Engine, Job, serve

SYMBOL: Final = "BTC/USD"
_EVENT: Final = ("backtest.engine.event_engine", "strategies.samples.sma_cross")
IMPORTS: Final = {
    "event": _EVENT,
    "risk": _EVENT,
    "kernel": ("backtest.engine.event_engine", "strategies.kernels.sma_cross"),
    "compiled": ("backtest.compiled.engine", "strategies.kernels.sma_cross"),
    "strategy": _EVENT,
    "bare": ("core.contracts",),
    "call": ("core.contracts",),
    "step": ("numba", "strategies.kernels.sma_cross"),
    "numba": ("numba",),
    "numba_kept": ("numba",),
}
"""The modules that each engine loads."""


def make(bars: Bars, job: Job) -> Engine:
    """The engine that the job names."""
    kinds: dict[str, Callable[[Bars], Engine]] = {
        "event": Event, "risk": Event, "kernel": Event, "compiled": Compiled, "strategy": Strategy, "bare": Bare,
        "call": Bare, "step": Step, "numba": BareNumba, "numba_kept": KeptNumba,
    }  # fmt: skip
    return kinds[job["engine"]](bars)


def series_of(bars: Bars) -> Any:
    """The bars as our engines take them."""
    from backtest.data.series import BarSeries

    columns = (bars.ts_open, bars.ts_close, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return BarSeries(SYMBOL, "1m", *columns)


def config_of(job: Job, *, risk: bool = False) -> Any:
    """The run that everybody does."""
    from backtest.contracts import BacktestConfig, FillTiming

    timing = FillTiming.BAR_CLOSE if job["timing"] == "close" else FillTiming.NEXT_OPEN
    params = {"fast": job["fast"], "slow": job["slow"], "allow_short": False, "qty": 1.0}
    return BacktestConfig(
        SYMBOL, "sma_cross", 0, 0, CAPITAL, COMMISSION, 0.0, fill_timing=timing, params=params, risk=risk
    )


class Event:
    """The event engine, from its construction to the result with metrics, round trips and fingerprints."""

    def __init__(self, bars: Bars) -> None:
        self._series = series_of(bars)
        _ = self._series.events, self._series.checksum

    def arrange(self, job: Job) -> Any:
        """As many bars as the job has, with their events made."""
        series = self._series
        if job.get("bars", len(series)) < len(series):
            series = series.rows(0, job["bars"])
            _ = series.events, series.checksum
        return config_of(job, risk=job["engine"] == "risk"), series, job["engine"] == "kernel"

    def run(self, arranged: Any) -> Any:
        """One backtest."""
        from backtest.engine import run_backtest
        from risk.limits import RiskLimits

        config, series, kernel = arranged
        if kernel:
            from strategies.kernels.sma_cross import SmaCross as Kernel

            return run_backtest(config, series, Kernel)
        from strategies.samples.sma_cross import SmaCross

        limits = RiskLimits(per_order_usd_cap=1e6, daily_loss_usd_cap=1e6, orders_per_min_cap=100)
        return run_backtest(config, series, SmaCross, limits=limits)

    def read(self, result: Any) -> Answer:
        """From the result."""
        return {"trips": result.num_trades, "final": result.final_capital, "orders": len(result.orders)}


class Compiled:
    """The compiled engine, from prepared bars to every fill and metric."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._markets = {len(bars): market_of(bars)}

    def arrange(self, job: Job) -> Any:
        """As many bars as the job has, in steps."""
        count = job.get("bars", len(self._bars))
        if count not in self._markets:
            self._markets[count] = market_of(self._bars.first(count))
        return config_of(job), self._markets[count]

    def run(self, arranged: Any) -> Any:
        """One backtest."""
        from backtest.compiled.engine import run_kernel
        from strategies.kernels.sma_cross import SmaCross

        config, market = arranged
        return run_kernel(SmaCross, None, market, config, market.instrument)

    def read(self, result: Any) -> Answer:
        """From the metrics."""
        return {"trips": result.metrics["num_trades"], "final": float(result.final_equity)}


def market_of(bars: Bars) -> Any:
    """The bars in steps of their own prices."""
    from backtest.compiled.market import KernelMarket
    from backtest.data.price_grid import derived_instrument

    series = series_of(bars)
    return KernelMarket.of(series, derived_instrument([series]))


class Strategy:
    """Our strategy object alone, called bar by bar by a bare loop; its answers go nowhere."""

    def __init__(self, bars: Bars) -> None:
        self._events = series_of(bars).events

    def arrange(self, job: Job) -> Any:
        """A strategy on empty books."""
        from core.bus import MemoryBus
        from strategies.context import StrategyContext
        from strategies.samples.sma_cross import SmaCross

        params = config_of(job).params
        context = StrategyContext("sma_cross", MemoryBus(), {}, {}, params, (SYMBOL,))
        return SmaCross(context)

    def run(self, arranged: Any) -> Any:
        """One call per bar."""
        on_event, answered = arranged.on_event, 0
        for bar in self._events:
            if on_event(bar):
                answered += 1
        return answered

    def read(self, result: Any) -> Answer:
        """The number of crosses."""
        return {"answers": result}


class Bare:
    """A method per bar that does the whole strategy, or nothing."""

    def __init__(self, bars: Bars) -> None:
        self._events = series_of(bars).events

    def arrange(self, job: Job) -> Any:
        """A strategy that knows nothing yet."""
        return Nothing() if job["engine"] == "call" else BareCross(job["fast"], job["slow"], job["timing"] == "open")

    def run(self, arranged: Any) -> Any:
        """One call per bar."""
        on_bar = arranged.on_bar
        for bar in self._events:
            on_bar(bar)
        return arranged

    def read(self, result: Any) -> Answer:
        """The trips and the equity that it booked."""
        if isinstance(result, Nothing):
            return {}
        return {"trips": result.trips, "final": result.cash + result.held * self._events[-1].close}


class Nothing:
    """Does nothing."""

    def on_bar(self, bar: Any) -> None:
        """Nothing."""


class BareCross:
    """Running sums over a list of closes; one unit bought and sold for cash."""

    def __init__(self, fast: int, slow: int, late: bool) -> None:
        self.cash, self.held, self.trips = CAPITAL, 0, 0
        self._fast, self._slow, self._late = fast, slow, late
        self._closes: list[float] = []
        self._quick = self._calm = 0.0
        self._above: bool | None = None
        self._due = 0

    def on_bar(self, bar: Any) -> None:
        """Trade at a cross."""
        if self._due:
            self._trade(self._due, bar.open)
            self._due = 0
        closes = self._closes
        closes.append(bar.close)
        count = len(closes)
        self._quick += bar.close - (closes[-1 - self._fast] if count > self._fast else 0.0)
        self._calm += bar.close - (closes[-1 - self._slow] if count > self._slow else 0.0)
        if count < self._slow:
            return
        quick, calm = self._quick * self._slow, self._calm * self._fast
        above = quick > calm
        if above is self._above or quick == calm:
            return
        was_above, self._above = self._above, above
        if was_above is None or (not above and not self.held):
            return
        side = 1 if above else -1
        if self._late:
            self._due = side
        else:
            self._trade(side, bar.close)

    def _trade(self, side: int, price: float) -> None:
        self.held += side
        self.cash -= side * price + COMMISSION * price
        self.trips += side < 0


class Step:
    """The step of the kernel, bar by bar in a compiled loop; its answers go nowhere."""

    def __init__(self, bars: Bars) -> None:
        import numba

        from strategies.kernels.sma_cross import SmaCross
        from strategies.kernels.strategy import KernelBar

        step = SmaCross.step

        def alone(columns: Any, state: Any, params: Any) -> int:
            changes, last_exposure = 0, 0.0
            ts_ns, first, high, low, close, volume = columns
            for at in range(len(close)):
                exposure = step(
                    state, KernelBar(ts_ns[at], first[at], high[at], low[at], close[at], volume[at]), params
                )
                changes += exposure == -last_exposure
                last_exposure = exposure
            return changes

        self._columns = bars.ts_close, bars.open, bars.high, bars.low, bars.close, bars.volume
        self._loop = numba.njit(error_model="numpy")(alone)

    def arrange(self, job: Job) -> Any:
        """As many bars as the job has, and a state that knows nothing yet."""
        from strategies.kernels.sma_cross import SmaCross

        params = SmaCross.Params(fast=job["fast"], slow=job["slow"])
        columns = tuple(column[: job.get("bars", len(column))] for column in self._columns)
        return columns, np.zeros(SmaCross.state_size(params)), params.vector()

    def run(self, arranged: Any) -> Any:
        """All bars."""
        return self._loop(*arranged)

    def read(self, result: Any) -> Answer:
        """The number of turns."""
        return {"answers": result}


class BareNumba:
    """The same loop in machine code, over columns."""

    def __init__(self, bars: Bars) -> None:
        import numba

        self._columns = bars.open, bars.close
        self._loop = numba.njit(_cross)

    def arrange(self, job: Job) -> Any:
        """As many bars as the job has."""
        columns = (column[: job.get("bars", len(column))] for column in self._columns)
        return (*columns, job["fast"], job["slow"], job["timing"] == "open")

    def run(self, arranged: Any) -> Any:
        """The whole of it."""
        return self._loop(*arranged, CAPITAL, COMMISSION)

    def read(self, result: Any) -> Answer:
        """The trips and the equity that it booked."""
        trips, final = result
        return {"trips": trips, "final": final}


class KeptNumba(BareNumba):
    """Fills and the equity of every bar are written down, the deepest drawdown is kept."""

    def __init__(self, bars: Bars) -> None:
        import numba

        self._columns = bars.open, bars.close
        self._loop = numba.njit(_kept)

    def read(self, result: Any) -> Answer:
        """The trips and the equity that it booked."""
        trips, equity, _, _ = result
        return {"trips": trips, "final": float(equity[-1])}


def _cross(
    opens: Any, closes: Any, fast: int, slow: int, late: bool, cash: float, commission: float
) -> tuple[int, float]:
    """The function that numba compiles."""
    quick, calm, side, position, trips, due = 0.0, 0.0, 0, 0, 0, 0
    for at in range(len(closes)):
        if due != 0:
            position, cash, trips = position + due, cash - due * opens[at] - commission * opens[at], trips + (due < 0)
            due = 0
        quick += closes[at] - (closes[at - fast] if at >= fast else 0.0)
        calm += closes[at] - (closes[at - slow] if at >= slow else 0.0)
        if at < slow - 1 or quick * slow == calm * fast:
            continue
        now = 1 if quick * slow > calm * fast else -1
        if now == side:
            continue
        last_side, side = side, now
        if last_side == 0 or (now < 0 and position == 0):
            continue
        if late:
            due = now
        else:
            position, cash, trips = position + now, cash - now * closes[at] - commission * closes[at], trips + (now < 0)
    return trips, cash + position * closes[-1]


def _kept(
    opens: Any, closes: Any, fast: int, slow: int, late: bool, cash: float, commission: float
) -> tuple[int, Any, Any, float]:
    """The function that numba compiles for fills and equity."""
    quick, calm, side, position, trips, due, filled = 0.0, 0.0, 0, 0, 0, 0, 0
    equity, fills, peak, deepest = np.empty(len(closes)), np.empty((len(closes), 3)), cash, 0.0
    for at in range(len(closes)):
        price, trade = opens[at], due
        due = 0
        quick += closes[at] - (closes[at - fast] if at >= fast else 0.0)
        calm += closes[at] - (closes[at - slow] if at >= slow else 0.0)
        now = side
        if at >= slow - 1 and quick * slow != calm * fast:
            now = 1 if quick * slow > calm * fast else -1
        if now != side:
            if side != 0 and (now > 0 or position + trade > 0):
                if late:
                    due = now
                else:
                    price, trade = closes[at], now
            side = now
        if trade != 0:
            position, cash, trips = position + trade, cash - trade * price - commission * price, trips + (trade < 0)
            fills[filled, 0], fills[filled, 1], fills[filled, 2] = at, trade, price
            filled += 1
        equity[at] = cash + position * closes[at]
        peak = max(peak, equity[at])
        deepest = max(deepest, 1.0 - equity[at] / peak)
    return trips, equity, fills[:filled], deepest


if __name__ == "__main__":
    import json
    import sys

    serve(IMPORTS[json.loads(sys.argv[2])["engine"]], "", make)
