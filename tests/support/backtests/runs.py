"""What the tests of the event engine share: short series, instruments, strategies that do what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from backtest.contracts import BacktestConfig, BacktestResult
from backtest.data.series import BarSeries
from backtest.engine import BacktestEngine
from backtest.engine.bar_loop import ReferenceBarLoop
from backtest.engine.slots import Entrant
from backtest.equity_tracker import EquityTracker
from core import codec
from core.clock import NS_PER_MINUTE
from core.contracts import Contract, OHLCVBar, OrderCancel, OrderIntent, Side
from core.instruments import Instrument, Instruments
from risk.limits import RiskLimits
from strategies.base import StrategyBase
from strategies.context import StrategyContext

ATOM = "ATOM/USDT"
BTC = "BTC/USDT"
T0 = 1_704_067_200_000_000_000  # 2024-01-01 00:00:00 UTC
INSTRUMENTS = Instruments(
    [
        Instrument(ATOM, Decimal("0.01"), Decimal("0.1"), min_notional=Decimal(5)),
        Instrument(BTC, Decimal("0.5"), Decimal("0.001")),
    ]
)
WIDE = RiskLimits(per_order_usd_cap=1e9, daily_loss_usd_cap=1e9, orders_per_min_cap=1_000)
CONFIG = BacktestConfig(ATOM, "scripted", 0, 0, 10_000.0, 0.001, 0.0)

Action = Callable[["Scripted", OHLCVBar], Iterable[OrderIntent | OrderCancel]]


def at(bar: int) -> int:
    """When the bar of that number (from 0) closes."""
    return T0 + (bar + 1) * NS_PER_MINUTE


def bars(rows: Sequence[Sequence[float]], symbol: str = ATOM, timeframe: str = "1m", minutes: int = 1) -> BarSeries:
    """Bars of (open, high, low, close) with a volume of 1,000 each, without gaps."""
    count = len(rows)
    opens = T0 + np.arange(count, dtype=np.int64) * minutes * NS_PER_MINUTE
    o, h, lo, c = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    ends = opens + minutes * NS_PER_MINUTE
    return BarSeries(symbol, timeframe, opens, ends, o, h, lo, c, np.full(count, 1_000.0))


def closes(prices: Sequence[float], symbol: str = ATOM) -> BarSeries:
    """Bars that open at the close before and reach no further."""
    rows = []
    before = prices[0]
    for price in prices:
        rows.append((before, max(before, price), min(before, price), price))
        before = price
    return bars(rows, symbol)


class Scripted(StrategyBase):
    """Does on the bars what its script says, by number of the bar, and keeps what it is told."""

    strategy_id = "scripted"

    def __init__(self, context: StrategyContext, script: dict[int, Action]) -> None:
        super().__init__(context)
        self.told: list[Contract] = []
        self.seen = -1
        self._script = script

    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        if not isinstance(event, OHLCVBar):
            self.told.append(event)
            return []
        self.seen += 1
        action = self._script.get(self.seen)
        return [] if action is None else list(action(self, event))

    def order(self, side: Side, qty: float, limit: float | None = None, symbol: str = ATOM) -> OrderIntent:
        return OrderIntent(self.strategy_id, symbol, side, "market" if limit is None else "limit", qty, limit)


def market(side: Side, qty: float = 1.0, symbol: str = ATOM) -> Action:
    """A market order."""
    return lambda strategy, _bar: [strategy.order(side, qty, symbol=symbol)]


def limit(side: Side, price: float, qty: float = 1.0) -> Action:
    """A limit order."""
    return lambda strategy, _bar: [strategy.order(side, qty, price)]


def cancel_all(strategy: Scripted, bar: OHLCVBar) -> list[OrderCancel]:
    """Takes back whatever is open."""
    orders = strategy.context.orders.values()
    return [OrderCancel(order.order_id, order.symbol, strategy.strategy_id, bar.ts_ns) for order in orders]


def engine(script: dict[int, Action], data: BarSeries | Sequence[BarSeries], **changes: Any) -> BacktestEngine:
    """An engine over a scripted strategy, ``CONFIG`` with these changes."""
    limits = changes.pop("limits", WIDE)
    return BacktestEngine(
        replace(CONFIG, **changes), lambda context: Scripted(context, script), data, INSTRUMENTS, limits
    )


def result_of(script: dict[int, Action], data: BarSeries | Sequence[BarSeries], **changes: Any) -> BacktestResult:
    """One run of it."""
    return engine(script, data, **changes).run()


def fills_of(result: BacktestResult) -> list[tuple[int, str, float, float]]:
    """Time, side, quantity and price of every fill; the time counted in minutes since the first bar opened."""
    return [((f["ts_fill_ns"] - T0) // NS_PER_MINUTE, f["side"], f["qty"], f["price"]) for f in result.fills]


class Erratic(StrategyBase):
    """Orders, cancels and does nothing at random, on bars and on what comes of its orders; writes down what it sees."""

    strategy_id = "erratic"

    def __init__(self, context: StrategyContext, seed: int, eagerness: float) -> None:
        super().__init__(context)
        self._random = Random(f"{seed}{context.strategy_id}")
        self._eagerness = eagerness

    def on_event(self, event: Any) -> Iterable[OrderIntent | OrderCancel]:
        draw = self._random
        eager = self._eagerness if isinstance(event, OHLCVBar) else self._eagerness / 4
        if draw.random() > eager:
            return []
        return [self._order(event) if draw.random() < 0.8 else self._cancel(event)]

    def _order(self, event: Any) -> OrderIntent | OrderCancel:
        draw, context = self._random, self.context
        symbol = draw.choice(context.symbols)
        instrument = context.instruments[symbol]
        side: Side = draw.choice(("buy", "sell"))
        qty = instrument.qty(draw.randrange(1, 40))
        seen = {
            "prices": dict(sorted(context.prices.items())),
            "held": {s: [p.qty, p.realized_pnl] for s, p in sorted(context.positions.items())},
            "open": len(context.orders),
        }
        price = context.prices.get(symbol)
        if price is None or draw.random() < 0.5:
            return OrderIntent(self.strategy_id, symbol, side, "market", qty, meta=seen)
        near = instrument.round_price(price * draw.uniform(0.99, 1.01))
        return OrderIntent(self.strategy_id, symbol, side, "limit", qty, near, meta=seen)

    def _cancel(self, event: Any) -> OrderIntent | OrderCancel:
        orders = list(self.context.orders.values())
        if not orders:
            return self._order(event)
        order = self._random.choice(orders)
        return OrderCancel(order.order_id, order.symbol, self.strategy_id, event.ts_ns)


def walk(seed: int, count: int, symbol: str = ATOM, minutes: int = 1, gap: float = 0.05) -> BarSeries:
    """Random bars on the symbol's grid, now and then with minutes missing, across midnight when long enough."""
    draw, instrument = Random(f"{seed}{symbol}{minutes}"), INSTRUMENTS[symbol]
    ticks, opens, rows = 900, T0 - 30 * NS_PER_MINUTE, []
    for _ in range(count):
        if draw.random() < gap:
            opens += draw.randrange(1, 20) * minutes * NS_PER_MINUTE
        path = [ticks := max(50, ticks + draw.randrange(-12, 13)) for _ in range(4)]
        prices = [instrument.price(each) for each in (path[0], max(path), min(path), path[-1])]
        rows.append((opens, *prices, float(draw.randrange(0, 50))))
        opens += minutes * NS_PER_MINUTE
    ts, *columns = zip(*rows, strict=True)
    ts_open = np.array(ts, dtype=np.int64)
    values = (np.array(column, dtype=np.float64) for column in columns)
    return BarSeries(symbol, f"{minutes}m", ts_open, ts_open + minutes * NS_PER_MINUTE, *values)


class SlowEngine(BacktestEngine):
    """The same engine in the reference bar loop."""

    bar_loop = ReferenceBarLoop

    def tracked(self) -> list[tuple[int, float]]:
        """The equity of the last run, tracked moment by moment."""
        tracker = EquityTracker(self.config.initial_capital, INSTRUMENTS.values())
        for index, ts_ns in enumerate(self._stream.moments):
            for fill in self.booked:
                if fill.moment == index:
                    tracker.on_fill(fill.symbol, fill.lots, fill.ticks, fill.fee)
            for symbol, grid in self._grids.items():
                if ts_ns in grid.closes_at:
                    tracker.on_price(symbol, int(grid.close[grid.closes_at.index(ts_ns)]))
            tracker.on_bar(ts_ns)
        return tracker.curve


def lines_of(run: BacktestEngine) -> list[bytes]:
    """Every message of a run, as it would go over the wire."""
    return [type(message).__name__.encode() + codec.encode(message) for message in run.event_log]


def erratic(names: Iterable[str], symbols: tuple[str, ...], seed: int, eagerness: float) -> list[Entrant]:
    """As many erratic strategies as there are names."""
    return [Entrant(name, lambda context: Erratic(context, seed, eagerness), symbols) for name in names]


def csv_of(folder: Path, bars: int = 400) -> Path:
    """A CSV of a walk's bars; its time stamps are the closes."""
    series = walk(8, bars, gap=0.0)
    rows = zip(series.ts_close, series.open, series.high, series.low, series.close, series.volume, strict=True)
    lines = ["timestamp,open,high,low,close,volume", *(",".join(str(each) for each in row) for row in rows)]
    file = folder / "bars.csv"
    file.write_text("\n".join(lines) + "\n")
    return file
