"""The compiled engine: kernel strategies over a whole series, one run with all its fills, or thousands with metrics.

The event engine and this one call the same compiled step and count in the same integers; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property, partial
from math import log10
from typing import Any, Final

import msgspec
import numpy as np

from backtest.compiled.account import ACCOUNT, FILL, MOST_OPEN_LOTS, OPEN_LOTS, TOO_MANY_LOTS, Records, Rules
from backtest.compiled.loop import MEASURES, ParameterSets, Results, loop_of
from backtest.compiled.market import KernelMarket, rules_of, too_large
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

_PART: Final = 1_024  # sets per task of an executor
_HOST: Final = TargetParams.__struct_fields__  # the parameters that the rules of a set follow from
_CHUNK: Final = 64  # sets per task: enough to hide the call, few enough to end together


@dataclass(frozen=True, eq=False)
class CompiledRun:
    """One run. Everything beyond the integers is computed on request.

    Attributes:
        market: the bars.
        fills: in order, a record of integers each: see ``FILL``.
        rules: the units of the integers.
        metrics: the columns of ``sweep_kernel`` for this set.
    """

    market: KernelMarket
    rules: Rules
    fills: Records
    metrics: Mapping[str, float]

    @cached_property
    def lots(self) -> Ints:
        """The position in lots after each bar."""
        return self._sum_after_bars(self.fills["signed_lots"])

    @cached_property
    def equity_units(self) -> Ints:
        """The equity after each bar, in units of ``rules``, exactly."""
        fills, rules = self.fills, self.rules
        cash = self._sum_after_bars(
            -rules.per_money * fills["signed_lots"] * fills["price_ticks"] - rules.per_fee * fills["fee_units"]
        )
        value: Ints = rules.capital + cash + rules.per_money * self.lots * self.market.grid.close
        return value

    @cached_property
    def equity(self) -> Floats:
        """The same in quote currency."""
        return self.equity_units / self.rules.scale

    @property
    def fees(self) -> list[float]:
        """The fee of each fill, in quote currency."""
        return [fee_of_units(units) for units in self.fills["fee_units"].tolist()]

    @cached_property
    def round_trips(self) -> tuple[RoundTrip, ...]:
        """As the event engine has them."""
        symbol = self.market.instrument.symbol
        booked = [Booked(symbol, bar, ts_ns, lots, ticks, fee) for bar, ts_ns, lots, ticks, fee in self.fills.tolist()]
        return round_trips(booked, {symbol: self.market.grid})

    @property
    def final_equity(self) -> Decimal:
        """At the last close, exactly."""
        return Decimal(int(self.equity_units[-1])).scaleb(-_decimals(self.rules))

    def _sum_after_bars(self, changes: Ints) -> Ints:
        """The running sum of the changes by fills, after each bar."""
        moved = np.zeros(len(self.market), np.int64)
        np.add.at(moved, self.fills["bar"], changes)
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
    kernel_params = _params(strategy, config.params if params is None else params)
    rules = _rules(kernel_params, config, market)
    sets = ParameterSets(kernel_params.vector()[None, :], np.array([strategy.state_size(kernel_params)], np.int64))
    results = _results(1, market, fills=len(market) + 1)
    _run(strategy, sets, market, rules, results)
    _check(strategy, sets.params, results.accounts, market, rules)
    columns = _columns(results, market, rules)
    metrics = {name: column[0].item() for name, column in columns.items()}
    return CompiledRun(market, rules, results.fills[: results.accounts["fills"][0]], metrics)


@dataclass(frozen=True, eq=False)
class KernelRuns:
    """Many sets after one call.

    Attributes:
        columns: those of ``sweep_kernel``, a row per set in the order given; meaningless where a set failed.
        samples: the equity in quote currency at the start (column 0) and at the close of each of the market's marks
            (column ``n`` is mark ``n - 1``): shape (sets, marks + 1), or (0, marks + 1) when not requested.
        errors: the errors that ``run_kernel`` would raise, by the place of the set.
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

    Sets may differ in everything, also in quantity and direction. One that fails is in ``errors``; the others run.

    Args:
        sets: all parameters of each, as in a configuration; nothing is added from ``config.params``.
        samples: whether to keep the equity of every set at the market's marks, 8 bytes each.

    Raises:
        ConfigError: a series that does not fit.
        ContractError: prices off the grid.
    """
    market = _market(series, config, instrument)
    results = _results(len(sets), market, samples=samples)
    groups: dict[tuple[Any, ...], list[tuple[int, KernelParams, int]]] = {}
    errors: dict[int, Exception] = {}
    for at, params in enumerate(sets):
        try:
            kernel_params = _params(strategy, params)
            size = strategy.state_size(kernel_params)
        except Exception as error:  # noqa: BLE001 — foreign code judges parameters: one set must not end the others
            errors[at] = error
            continue
        groups.setdefault(tuple(getattr(kernel_params, name) for name in _HOST), []).append((at, kernel_params, size))
    rules = None
    for group in groups.values():
        places = np.array([at for at, _, _ in group])
        try:
            rules = _rules(group[0][1], config, market)
        except (ConfigError, ContractError) as error:
            errors.update(dict.fromkeys(places.tolist(), error))
            continue
        grid = np.array([kernel_params.vector() for _, kernel_params, _ in group])
        of_group = _results(len(group), market, samples=samples)
        _run(strategy, ParameterSets(grid, np.array([size for _, _, size in group])), market, rules, of_group)
        results.accounts[places], results.measures[places] = of_group.accounts, of_group.measures
        if samples:
            results.samples[places] = of_group.samples
        failures = _failures(strategy, grid, of_group.accounts, market, rules)
        errors.update({int(places[at]): error for at, error in failures})
    columns = {} if rules is None else _columns(results, market, rules)
    return KernelRuns(columns, results.samples if samples else results.samples[:0], dict(sorted(errors.items())))


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
        executor: runs parts of the grid elsewhere, each on so many threads: a cluster, or processes.

    Raises:
        ConfigError: parameters or a configuration that do not fit.
        ContractError: prices off the grid, or amounts that could overflow.
    """
    market = _market(series, config, instrument)
    grid = np.ascontiguousarray(grid, dtype=np.float64)
    if executor is not None and len(grid) > _PART:
        parts = np.array_split(grid, -(-len(grid) // _PART))
        run = partial(sweep_kernel, strategy, series=market, config=config, instrument=instrument, threads=threads)
        columns = list(executor.map(run, parts))
        return {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    names = strategy.Params.names()
    if grid.ndim != 2 or grid.shape[1] != len(names):
        raise ConfigError(f"grid: expected a column for each of {', '.join(names)}, got the shape {grid.shape}")
    sizes = np.array([strategy.state_size(params) for params in _sets(strategy, grid, config.params)], np.int64)
    rules = _rules(_params(strategy, config.params), config, market)
    results = _results(len(grid), market)

    def work(first: int) -> None:
        part = slice(first, first + _CHUNK)
        chunk = _results(0, market)._replace(accounts=results.accounts[part], measures=results.measures[part])
        _run(strategy, ParameterSets(grid[part], sizes[part]), market, rules, chunk)

    starts = range(0, len(grid), _CHUNK)
    if threads == 1 or len(starts) < 2:
        for first in starts:
            work(first)
    else:
        work(0)  # compiles, once
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, starts[1:]))
    _check(strategy, grid, results.accounts, market, rules)
    return _columns(results, market, rules)


def _market(series: BarSeries | KernelMarket, config: BacktestConfig, instrument: Instrument) -> KernelMarket:
    if isinstance(series, KernelMarket):
        if series.instrument != instrument or config.start_ts or config.end_ts:
            raise ConfigError(
                f"KernelMarket: expected {series.instrument} and no start_ts or end_ts, got {instrument}, "
                f"{config.start_ts} and {config.end_ts}; make the market of these bars and this instrument"
            )
        return series
    if config.start_ts or config.end_ts:
        series = series.between(config.start_ts, config.end_ts)
    return KernelMarket.of(series, instrument)


def _params(strategy: type[KernelStrategy], params: Mapping[str, Any]) -> KernelParams:
    try:
        return msgspec.convert(dict(params), strategy.Params)
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
    return rules_of(config, market, lots, long_only=not params.allow_short)


def _results(sets: int, market: KernelMarket, *, fills: int = 0, samples: bool = False) -> Results:
    """Empty results. Without ``samples`` one row takes the curve of every set, one after the other."""
    return Results(
        accounts=np.zeros(sets, ACCOUNT),
        measures=np.zeros(sets, MEASURES),
        samples=np.zeros((sets if samples else 1, len(market.marks) + 1)),
        fills=np.zeros(fills, FILL),
        open_lots=np.zeros(1, OPEN_LOTS),
    )


def _run(
    strategy: type[KernelStrategy], sets: ParameterSets, market: KernelMarket, rules: Rules, results: Results
) -> None:
    loop_of(strategy.step)(sets, market.bars, market.sampling, rules, results)


def _check(strategy: type[KernelStrategy], grid: Floats, accounts: Records, market: KernelMarket, rules: Rules) -> None:
    for _, error in _failures(strategy, grid, accounts, market, rules):
        raise error


def _failures(
    strategy: type[KernelStrategy], grid: Floats, accounts: Records, market: KernelMarket, rules: Rules
) -> Iterator[tuple[int, ContractError]]:
    """The rows of the grid that the loop gave up, and why."""
    for at in np.flatnonzero(accounts["status"]).tolist():
        place = f"{strategy.__name__}, set {dict(zip(strategy.Params.names(), grid[at].tolist(), strict=True))}"
        if accounts["status"][at] == TOO_MANY_LOTS:
            reason = f"expected at most {MOST_OPEN_LOTS} open lots of different prices, got more"
        else:
            reason = too_large(market.instrument, _decimals(rules))
        yield at, ContractError(f"{place}: {reason}")


def _decimals(rules: Rules) -> int:
    """The decimal places of a unit of the rules."""
    return round(log10(rules.scale))


def _columns(results: Results, market: KernelMarket, rules: Rules) -> dict[str, Floats | Ints]:
    accounts, measures = results.accounts, results.measures
    capital, money = rules.capital / rules.scale, rules.per_money / rules.scale
    final, trips, wins = measures["equity"], accounts["trips"], accounts["wins"]
    ts_close = market.bars.ts_close
    return {
        "final_equity": final,
        "total_return_pct": 100.0 * (final / capital - 1.0),
        "max_drawdown_pct": 100.0 * measures["drawdown"],
        "max_drawdown_duration_days": measures["duration_ns"] / DAY_NS,
        "sharpe_ratio": measures["sharpe"],
        "sortino_ratio": measures["sortino"],
        "num_trades": trips,
        "wins": wins,
        "win_rate": wins / np.maximum(trips, 1),
        "gross_profit": accounts["profit"] / rules.scale,
        "gross_loss": accounts["loss"] / rules.scale,
        "exposure_pct": 100.0 * accounts["time_ns"] / max(int(ts_close[-1] - ts_close[0]), 1),
        "turnover": measures["turnover"] * money,
        "fees_paid": accounts["fees"] * (rules.per_fee / rules.scale),
        "fills": accounts["fills"],
    }
