"""Kernel strategies over a whole series in machine code: one run with all its fills, or thousands with their metrics.

The event engine and this one call the same compiled step and count in the same integers; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, partial
from typing import Any, Final

import msgspec
import numpy as np

from backtest.compiled import loop
from backtest.compiled.market import KernelMarket, Rules, rules_of, too_large
from backtest.contracts import BacktestConfig, RoundTrip
from backtest.data.series import BarSeries
from backtest.engine.round_trips import round_trips
from backtest.fill_simulator import Booked
from backtest.metrics.returns import DAY_NS, Floats, Ints
from core.errors import ConfigError, ContractError
from core.instruments import Instrument
from core.position_ledger import fee_of_units
from strategies.kernels.strategy import KernelParams, KernelStrategy
from strategies.target_orders import TargetParams

_PART: Final = 1_024  # sets that an executor is given at a time
_HOST: Final = TargetParams.__struct_fields__  # what the rules of a set's orders follow from
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
    grid, sizes = given.vector()[None, :], np.array([strategy.state_size(given)], np.int64)
    _walk(strategy, grid, sizes, market, rules, fills, books, measures, _row(market))
    _check(strategy, grid, books, market, rules)
    columns = _columns(books, measures, market, rules)
    return CompiledRun(market, rules, fills[: books[0, loop.FILLS]], {k: v[0].item() for k, v in columns.items()})


@dataclass(frozen=True, eq=False)
class KernelRuns:
    """Many sets after one call.

    Attributes:
        columns: those of ``sweep_kernel``, a row per set in the order given; meaningless where a set failed.
        samples: the equity in quote currency at the start (column 0) and at the close of each of the market's marks
            (column ``n`` is mark ``n - 1``): shape (sets, marks + 1), or (0, marks + 1) when not asked for.
        errors: what ``run_kernel`` would raise, by the place of the set.
    """

    columns: Mapping[str, Floats | Ints]
    samples: Floats
    errors: Mapping[int, Exception]


def run_kernels(
    strategy: type[KernelStrategy],
    sets: Sequence[Mapping[str, Any]],
    series: BarSeries | KernelMarket,
    config: BacktestConfig,
    instrument: Instrument,
    *,
    samples: bool = False,
) -> KernelRuns:
    """``run_kernel`` for each of the sets, without their fills, in as few compiled calls as their orders allow.

    Sets may differ in everything, also in quantity and direction. One that fails is told in ``errors``; the others run.

    Args:
        sets: all parameters of each, as in a configuration; nothing is added from ``config.params``.
        samples: whether to keep the equity of every set at the market's marks, 8 bytes each.

    Raises:
        ConfigError: a series that does not fit.
        ContractError: prices off the grid.
    """
    market = _market(series, config, instrument)
    books, measures = _outputs(len(sets))
    kept = np.zeros((len(sets), len(market.marks) + 1)) if samples else _row(market)
    alike: dict[tuple[Any, ...], list[tuple[int, KernelParams, int]]] = {}
    errors: dict[int, Exception] = {}
    for at, plain in enumerate(sets):
        try:
            given = _params(strategy, plain)
            size = strategy.state_size(given)
        except Exception as error:  # noqa: BLE001 — foreign code judges parameters: one set must not end the others
            errors[at] = error
            continue
        alike.setdefault(tuple(getattr(given, name) for name in _HOST), []).append((at, given, size))
    rules = None
    for group in alike.values():
        places = np.array([at for at, _, _ in group])
        try:
            rules = _rules(group[0][1], config, market)
        except (ConfigError, ContractError) as error:
            errors.update(dict.fromkeys(places.tolist(), error))
            continue
        grid, sizes = np.array([given.vector() for _, given, _ in group]), np.array([size for _, _, size in group])
        found, figures, curves = books[places], measures[places], kept[places] if samples else kept
        none = np.zeros((0, loop.FILL), np.int64)
        _walk(strategy, grid, sizes, market, rules, none, found, figures, curves)
        books[places], measures[places] = found, figures
        if samples:
            kept[places] = curves
        errors.update({int(places[at]): error for at, error in _failures(strategy, grid, found, market, rules)})
    columns = {} if rules is None else _columns(books, measures, market, rules)
    return KernelRuns(columns, kept if samples else kept[:0], dict(sorted(errors.items())))


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
    sizes = np.array([strategy.state_size(each) for each in _sets(strategy, grid, config.params)], np.int64)
    rules = _rules(_params(strategy, config.params), config, market)
    books, measures = _outputs(len(grid))
    none = np.zeros((0, loop.FILL), np.int64)

    def work(first: int) -> None:
        part = slice(first, first + _CHUNK)
        _walk(strategy, grid[part], sizes[part], market, rules, none, books[part], measures[part], _row(market))

    starts = range(0, len(grid), _CHUNK)
    if threads == 1 or len(starts) < 2:
        for first in starts:
            work(first)
    else:
        work(0)  # compiles, once
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, starts[1:]))
    _check(strategy, grid, books, market, rules)
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


def _row(market: KernelMarket) -> Floats:
    """Where sets that nobody asks the curve of leave it, one after the other."""
    return np.zeros((1, len(market.marks) + 1))


def _walk(
    strategy: type[KernelStrategy],
    grid: Floats,
    sizes: Ints,
    market: KernelMarket,
    rules: Rules,
    fills: Ints,
    books: Ints,
    measures: Floats,
    samples: Floats,
) -> None:
    """Run each row of the grid; ``samples`` has a row for each, or one for all."""
    loop.loop_of(strategy.step)(
        grid, sizes, market.times, market.prices, market.ticks, market.marks, market.take, market.take_first,
        rules.values, rules.scale, market.per_year, fills, books, measures, samples,
    )  # fmt: skip


def _check(strategy: type[KernelStrategy], grid: Floats, books: Ints, market: KernelMarket, rules: Rules) -> None:
    for _, error in _failures(strategy, grid, books, market, rules):
        raise error


def _failures(
    strategy: type[KernelStrategy], grid: Floats, books: Ints, market: KernelMarket, rules: Rules
) -> Iterator[tuple[int, ContractError]]:
    """The rows of the grid that the loop gave up, and why."""
    for at in np.flatnonzero(books[:, loop.STATUS]).tolist():
        place = f"{strategy.__name__}, set {dict(zip(strategy.Params.names(), grid[at].tolist(), strict=True))}"
        if books[at, loop.STATUS] == loop.TOO_MANY_LOTS:
            said = f"expected at most {loop.OPEN_LOTS} open lots of different prices, got more"
        else:
            said = too_large(market.instrument, rules.decimals)
        yield at, ContractError(f"{place}: {said}")


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
