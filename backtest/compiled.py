"""Kernel strategies over a whole series in machine code: one run with all its fills, or thousands with their metrics.

The event engine and this one call the same compiled step and count in the same integers; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, Final

import msgspec
import numpy as np

from backtest import compiled_loop as loop
from backtest.compiled_market import KernelMarket, Rules, rules_of, too_large
from backtest.contracts import BacktestConfig, RoundTrip
from backtest.fill_simulator import Booked
from backtest.metrics_returns import DAY_NS, Floats, Ints
from backtest.round_trips import round_trips
from backtest.series import BarSeries
from core.errors import ConfigError, ContractError
from core.instruments import Instrument
from core.position_ledger import fee_of_units
from strategies.kernel import KernelParams, KernelStrategy

_PART: Final = 1_024  # sets that an executor is given at a time
_CHUNK: Final = 64  # sets per task: enough to hide the call, few enough to end together


@dataclass(frozen=True, eq=False)
class CompiledRun:
    """One run. Everything beyond the integers is made when asked for.

    Attributes:
        market: the bars.
        fills: in order, a row of integers each: bar, ts_ns, signed lots, ticks, fee units.
        rules: what the integers count.
        metrics: the columns of ``sweep_kernel`` for this set.
    """

    market: KernelMarket
    rules: Rules
    fills: Ints
    metrics: Mapping[str, float]

    @cached_property
    def lots(self) -> Ints:
        """The position in lots after each bar."""
        return self._held_after(self.fills[:, loop.SIGNED_LOTS])

    @cached_property
    def equity_units(self) -> Ints:
        """The equity after each bar, in units of ``rules``, exactly."""
        fills, values = self.fills, self.rules.values
        cash = self._held_after(
            -values[loop.PER_MONEY] * fills[:, loop.SIGNED_LOTS] * fills[:, loop.PRICE_TICKS]
            - values[loop.PER_FEE] * fills[:, loop.FEE_UNITS]
        )
        value: Ints = values[loop.CAPITAL] + cash + values[loop.PER_MONEY] * self.lots * self.market.grid.close
        return value

    @cached_property
    def equity(self) -> Floats:
        """The same in quote currency."""
        return self.equity_units / self.rules.scale

    @property
    def fees(self) -> list[float]:
        """What each fill cost, in quote currency."""
        return [fee_of_units(units) for units in self.fills[:, loop.FEE_UNITS].tolist()]

    @cached_property
    def round_trips(self) -> tuple[RoundTrip, ...]:
        """As the event engine has them."""
        symbol = self.market.instrument.symbol
        booked = [Booked(symbol, bar, ts_ns, lots, ticks, fee) for bar, ts_ns, lots, ticks, fee in self.fills.tolist()]
        return round_trips(booked, {symbol: self.market.grid})

    @property
    def final_equity(self) -> Decimal:
        """At the last close, exactly."""
        return Decimal(int(self.equity_units[-1])).scaleb(-self.rules.decimals)

    def _held_after(self, changes: Ints) -> Ints:
        """Sums of what fills changed, as they stand after each bar."""
        moved = np.zeros(len(self.market), np.int64)
        np.add.at(moved, self.fills[:, loop.BAR], changes)
        return np.cumsum(moved)


def run_kernel(
    strategy: type[KernelStrategy],
    params: Mapping[str, Any] | None,
    series: BarSeries | KernelMarket,
    config: BacktestConfig,
    instrument: Instrument,
) -> CompiledRun:
    """One set of parameters over the series, with its fills.

    Args:
        params: as under ``params`` in a configuration; those of ``config`` when None.
        series: bars, cut to the time of ``config``; or a KernelMarket of them, which saves converting them every time.

    Raises:
        ConfigError: parameters or a configuration that do not fit.
        ContractError: prices off the grid, or amounts that could overflow.
    """
    market = _market(series, config, instrument)
    given = _params(strategy, config.params if params is None else params)
    rules = _rules(given, config, market)
    fills = np.zeros((len(market) + 1, loop.FILL), np.int64)
    books, measures = _outputs(1)
    _walk(strategy, given.vector()[None, :], strategy.state_size(given), market, rules, fills, books, measures)
    columns = _columns(books, measures, market, rules)
    return CompiledRun(market, rules, fills[: books[0, loop.FILLS]], {k: v[0].item() for k, v in columns.items()})


def sweep_kernel(
    strategy: type[KernelStrategy],
    grid: Floats,
    series: BarSeries | KernelMarket,
    config: BacktestConfig,
    instrument: Instrument,
    *,
    threads: int = 1,
    executor: Executor | None = None,
) -> dict[str, Floats | Ints]:
    """The metrics of every set of parameters, a column each, in the order of the grid.

    Args:
        grid: a row per set, a column per name of ``strategy.Params.names()``; everything else comes from
            ``config.params``.
        threads: how many run at once.
        executor: where parts of the grid go instead, each to run on so many threads: a cluster, or processes.

    Raises:
        ConfigError: parameters or a configuration that do not fit.
        ContractError: prices off the grid, or amounts that could overflow.
    """
    market = _market(series, config, instrument)
    grid = np.ascontiguousarray(grid, dtype=np.float64)
    if executor is not None and len(grid) > _PART:
        parts = np.array_split(grid, -(-len(grid) // _PART))
        run = partial(sweep_kernel, strategy, series=market, config=config, instrument=instrument, threads=threads)
        found = list(executor.map(run, parts))
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}
    names = strategy.Params.names()
    if grid.ndim != 2 or grid.shape[1] != len(names):
        raise ConfigError(f"grid: expected a column for each of {', '.join(names)}, got the shape {grid.shape}")
    sizes = [strategy.state_size(each) for each in _sets(strategy, grid, config.params)]
    rules = _rules(_params(strategy, config.params), config, market)
    books, measures = _outputs(len(grid))
    none = np.zeros((0, loop.FILL), np.int64)

    def work(first: int) -> None:
        part = slice(first, first + _CHUNK)
        _walk(strategy, grid[part], max(sizes[part]), market, rules, none, books[part], measures[part])

    starts = range(0, len(grid), _CHUNK)
    if threads == 1 or len(starts) < 2:
        for first in starts:
            work(first)
    else:
        work(0)  # compiles, once
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, starts[1:]))
    return _columns(books, measures, market, rules)


def _market(series: BarSeries | KernelMarket, config: BacktestConfig, instrument: Instrument) -> KernelMarket:
    if isinstance(series, KernelMarket):
        if series.instrument != instrument or config.start_ts or config.end_ts:
            raise ConfigError(
                f"KernelMarket: expected {series.instrument} and no start_ts or end_ts, got {instrument}, "
                f"{config.start_ts} and {config.end_ts}; make the market of the bars and the instrument that are meant"
            )
        return series
    if config.start_ts or config.end_ts:
        series = series.between(config.start_ts, config.end_ts)
    return KernelMarket.of(series, instrument)


def _params(strategy: type[KernelStrategy], plain: Mapping[str, Any]) -> KernelParams:
    try:
        return msgspec.convert(dict(plain), strategy.Params)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{strategy.__name__}: params: {error}; expected {', '.join(strategy.Params.__struct_fields__)}"
        ) from None


def _sets(strategy: type[KernelStrategy], grid: Floats, base: Mapping[str, Any]) -> list[KernelParams]:
    """Each row as the strategy's parameters: whole numbers as such, checked like a configuration."""
    names = strategy.Params.names()
    rows = ([int(x) if x.is_integer() else x for x in row] for row in grid.tolist())
    return [_params(strategy, {**base, **dict(zip(names, row, strict=True))}) for row in rows]


def _rules(params: KernelParams, config: BacktestConfig, market: KernelMarket) -> Rules:
    if params.order_type != "market":
        raise ConfigError(f"params.order_type: expected market in a compiled run, got {params.order_type!r}")
    instrument = market.instrument
    lots = instrument.lots(instrument.floor_qty(params.qty))
    if lots < 1:
        raise ConfigError(f"params.qty: expected at least one lot of {instrument.symbol}, got {params.qty}")
    return rules_of(config, market, lots, not params.allow_short)


def _outputs(sets: int) -> tuple[Ints, Floats]:
    return np.zeros((sets, loop.BOOKS), np.int64), np.zeros((sets, loop.MEASURES))


def _walk(
    strategy: type[KernelStrategy],
    grid: Floats,
    size: int,
    market: KernelMarket,
    rules: Rules,
    fills: Ints,
    books: Ints,
    measures: Floats,
) -> None:
    loop.loop_of(strategy.step)(
        grid, size, market.times, market.prices, market.ticks, market.marks, market.take, market.take_first,
        rules.values, rules.scale, market.per_year, fills, books, measures,
    )  # fmt: skip
    wrong = np.flatnonzero(books[:, loop.STATUS])
    if len(wrong):
        place = f"{strategy.__name__}, set {dict(zip(strategy.Params.names(), grid[wrong[0]].tolist(), strict=True))}"
        if books[wrong[0], loop.STATUS] == loop.TOO_MANY_LOTS:
            raise ContractError(f"{place}: expected at most {loop.OPEN_LOTS} open lots of different prices, got more")
        raise ContractError(f"{place}: {too_large(market.instrument, rules.decimals)}")


def _columns(books: Ints, measures: Floats, market: KernelMarket, rules: Rules) -> dict[str, Floats | Ints]:
    capital = rules.values[loop.CAPITAL] / rules.scale
    final = measures[:, loop.EQUITY]
    trips, wins = books[:, loop.TRIPS], books[:, loop.WINS]
    profit, loss = books[:, loop.PROFIT] / rules.scale, books[:, loop.LOSS] / rules.scale
    money = rules.values[loop.PER_MONEY] / rules.scale
    time = int(market.times[loop.TS_CLOSE][-1] - market.times[loop.TS_CLOSE][0])
    return {
        "final_equity": final,
        "total_return_pct": 100.0 * (final / capital - 1.0),
        "max_drawdown_pct": 100.0 * measures[:, loop.DRAWDOWN],
        "max_drawdown_duration_days": measures[:, loop.DURATION] / DAY_NS,
        "sharpe_ratio": measures[:, loop.SHARPE],
        "sortino_ratio": measures[:, loop.SORTINO],
        "num_trades": trips,
        "wins": wins,
        "win_rate": wins / np.maximum(trips, 1),
        "gross_profit": profit,
        "gross_loss": loss,
        "exposure_pct": 100.0 * books[:, loop.TIME] / max(time, 1),
        "turnover": measures[:, loop.TURNOVER] * money,
        "fees_paid": books[:, loop.FEES] * (rules.values[loop.PER_FEE] / rules.scale),
        "fills": books[:, loop.FILLS],
    }
