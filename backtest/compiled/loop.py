"""The compiled loop: one kernel over all bars, one parameter set after the other, in exact 64-bit integers.

``loop_of`` builds the loop around a kernel's step; ``run_set`` is the run of one set. Its fills, fees and
slippage are those of ``execution`` in the same integers (``backtest.compiled.account``), so that both engines agree to
the last bit. All measures are taken on the way: memory is one kernel state, a record per set, and a row of samples
(days), for each set only on request. A function that is called at every fill takes the columns that it needs and not
all ``Bars``: numba counts the references to every array it passes on.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import Any, Final, NamedTuple

import numpy as np

from backtest.compiled.account import (
    TOO_LARGE,
    Account,
    Fills,
    Floats,
    Ints,
    OpenLots,
    Records,
    Rules,
    slipped,
    trade,
)
from strategies.kernel_cache import compiled_with_cache, kernel_function, rare_function
from strategies.kernels.strategy import KernelBar

MEASURES: Final = np.dtype(
    [(name, np.float64) for name in ("equity", "drawdown", "duration_ns", "sharpe", "sortino", "turnover")]
)
"""The measures of a set: equity in quote currency, drawdown as a fraction, turnover in lots times ticks."""
_NOISE: Final = 1e-12  # as in backtest.metrics.returns


class Bars(NamedTuple):
    """The columns of a series: times in ns, prices and volume as floats for the kernel, in ticks and lots for fills."""

    ts_open: Ints
    ts_close: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    open_ticks: Ints
    high_ticks: Ints
    low_ticks: Ints
    close_ticks: Ints
    volume_lots: Ints


class Sampling(NamedTuple):
    """The bars whose equity is sampled, and the samples between which returns are taken; see ``KernelMarket``."""

    marks: Ints
    take: Ints
    take_first: Ints
    per_year: float


class ParameterSets(NamedTuple):
    """The sets to run: a row of parameters each, and how many numbers of state the step keeps for each."""

    params: Floats
    state_sizes: Ints


class Results(NamedTuple):
    """The output: per set an account, its measures and its samples (or one row of samples for all); fills if wanted."""

    accounts: Records
    measures: Records
    samples: Floats
    fills: Fills
    open_lots: Records  # one record: the queue of the set that is running


class Changes(NamedTuple):
    """The bars of a day at which the kernel's answer changed to another number, and these numbers."""

    bar: Ints
    exposure: Floats


class Workspace(NamedTuple):
    """The scratch memory of a set: the kernel's state, the changes of a day, the lots that are open."""

    state: Floats
    changes: Changes
    open_lots: OpenLots


class SetResult(NamedTuple):
    """The output of one set; see ``Results``."""

    account: Account
    measures: Any
    samples: Floats
    fills: Fills


class Curve(NamedTuple):
    """The equity curve up to a bar, in units of the rules; ``trough`` is the lowest equity since the latest peak."""

    equity: int
    peak: int
    peak_ts: int
    trough: int
    drawdown: float
    longest_ns: int


@cache
def loop_of(step: Any) -> Any:
    """The loop around a kernel's step: ``(sets, bars, sampling, rules, results)``; compiled at its first call."""

    def run(sets: ParameterSets, bars: Bars, sampling: Sampling, rules: Rules, results: Results) -> None:
        memory = np.zeros(sets.state_sizes.max())
        day = longest_day(sampling.marks)
        changes = Changes(np.zeros(day, np.int64), np.zeros(day))
        open_lots = results.open_lots[0]
        for index in range(len(sets.params)):
            state = memory[: sets.state_sizes[index]]
            state[:] = 0.0
            samples = results.samples[index % len(results.samples)]
            result = SetResult(results.accounts[index], results.measures[index], samples, results.fills)
            run_set(step, sets.params[index], bars, sampling, rules, Workspace(state, changes, open_lots), result)

    return compiled_with_cache(run)


@kernel_function
def run_set(
    step: Any, params: Floats, bars: Bars, sampling: Sampling, rules: Rules, workspace: Workspace, result: SetResult
) -> None:
    """Run one set over all bars, day by day.

    The kernel's answers do not depend on the fills. So each day's answers come first; then the account follows the bars
    from one change of the answer to the next.
    """
    state, changes, open_lots = workspace
    account, measures, samples, fills = result
    scale, ts_close, close_ticks = rules.scale, bars.ts_close, bars.close_ticks
    high_ticks, low_ticks, volume_lots = bars.high_ticks, bars.low_ticks, bars.volume_lots
    traded_at, traded_ns = (bars.open_ticks, bars.ts_open) if rules.next_open else (close_ticks, ts_close)
    curve = Curve(rules.capital, rules.capital, bars.ts_close[0], rules.capital, 0.0, 0)
    answer, missing, bar, turnover = np.nan, 0, 0, 0.0
    samples[0] = rules.capital / scale
    for mark in range(len(sampling.marks)):
        stop = sampling.marks[mark] + 1
        count, answer = collect_changes(step, state, params, bars, bar, stop, answer, changes)
        for number in range(count + 1):
            until = changes.bar[number] + rules.next_open if number < count else stop
            if missing != 0 and bar < until:
                at, ts_ns = traded_at[bar], traded_ns[bar]
                closed = bar - rules.next_open  # the latest bar that is known in full
                price = slipped(rules, high_ticks[closed], low_ticks[closed], volume_lots[closed], missing, at)
                fee = trade(account, open_lots, rules, missing, price, ts_ns)
                if len(fills):
                    record_fill(fills[account.fills - 1], bar, ts_ns, missing, price, fee)
                turnover += float(abs(missing)) * price
                missing = 0
            curve = follow(curve, account, ts_close, close_ticks, rules, bar, until)
            bar = max(bar, until)
            if number < count:
                decided = changes.bar[number]
                missing = missing_lots(account, rules, changes.exposure[number], close_ticks[decided])
            if account.status:
                break
        if account.status:
            break
        samples[mark + 1] = curve.equity / scale
    curve = with_drawdown(curve, bars.ts_close[-1], scale)
    if account.position != 0:
        account.time_ns += bars.ts_close[-1] - account.since_ns
    measures.equity = curve.equity / scale
    measures.drawdown, measures.duration_ns, measures.turnover = curve.drawdown, curve.longest_ns, turnover
    take = sampling.take if samples[1] == samples[0] else sampling.take_first
    measure_returns(samples, take, sampling.per_year, measures)


@kernel_function
def collect_changes(
    step: Any, state: Floats, params: Floats, bars: Bars, first: int, stop: int, answer: float, changes: Changes
) -> tuple[int, float]:
    """Run the step over the bars and note each change to a number. Returns how many, and the latest answer."""
    count = 0
    for i in range(first, stop):
        u = np.uint64(i)  # an index that needs no test for counting from the end
        bar = KernelBar(bars.ts_close[u], bars.open[u], bars.high[u], bars.low[u], bars.close[u], bars.volume[u])
        exposure = step(state, bar, params)
        if exposure != answer:  # also while it is NaN
            answer = exposure
            if exposure == exposure:
                changes.bar[count], changes.exposure[count] = i, exposure
                count += 1
    return count, answer


@kernel_function
def missing_lots(account: Account, rules: Rules, exposure: float, close: int) -> int:
    """The signed lots to trade for an exposure; 0 for less than the minimum notional. Marks an account as too large."""
    aimed = max(exposure, 0.0 if rules.long_only else -np.inf) * rules.lots
    if abs(aimed) > rules.max_lots:
        account.status = TOO_LARGE
        return 0
    missing = int(np.rint(aimed)) - account.position
    return 0 if abs(missing) * close < rules.min_notional else missing


@kernel_function
def record_fill(fill: Any, bar: int, ts_ns: int, lots: int, price: int, fee: int) -> None:
    """Write a fill into its record."""
    fill.bar, fill.ts_ns, fill.signed_lots, fill.price_ticks, fill.fee_units = bar, ts_ns, lots, price, fee


@kernel_function
def follow(
    curve: Curve, account: Account, ts_close: Ints, close_ticks: Ints, rules: Rules, first: int, until: int
) -> Curve:
    """The curve up to the bar before ``until``, with the account as it is."""
    flat = account.position == 0
    worth = rules.per_money * account.position
    cash = rules.capital + rules.per_money * account.traded - rules.per_fee * account.fees
    equity, peak, peak_ts, trough, drawdown, longest_ns = curve
    for i in range(first, min(until, first + 1) if flat else until):  # without a position all bars are alike
        u = np.uint64(i)
        equity = cash + worth * close_ticks[u]
        if equity >= peak:
            if trough < peak:
                longest_ns = max(longest_ns, ts_close[i] - peak_ts)
                drawdown = max(drawdown, 1.0 - (trough / rules.scale) / (peak / rules.scale))
            peak = trough = equity
            peak_ts = ts_close[u]
        elif equity < trough:
            trough = equity
    if flat and first < until and equity == peak:
        peak_ts = ts_close[until - 1]
    return Curve(equity, peak, peak_ts, trough, drawdown, longest_ns)


@kernel_function
def with_drawdown(curve: Curve, ts_ns: int, scale: float) -> Curve:
    """The curve with the drawdown that is not over at its end."""
    if curve.trough >= curve.peak:
        return curve
    drawdown = max(curve.drawdown, 1.0 - (curve.trough / scale) / (curve.peak / scale))
    longest_ns = max(curve.longest_ns, ts_ns - curve.peak_ts)
    return Curve(curve.equity, curve.peak, curve.peak_ts, curve.trough, drawdown, longest_ns)


@rare_function
def longest_day(marks: Ints) -> int:
    """The most bars between two marks."""
    longest: int = marks[0] + 1
    for mark in range(1, len(marks)):
        longest = max(longest, marks[mark] - marks[mark - 1])
    return longest


@rare_function
def measure_returns(samples: Floats, take: Ints, per_year: float, measures: Any) -> None:
    """Sharpe and Sortino of the curve at ``take``, as ``backtest.metrics.returns`` has them."""
    count = len(take) - 1
    funded = 0  # as many periods begin with a capital: an account that lost everything stays at zero
    while funded < count and samples[take[funded]] > 0.0:
        funded += 1
    total = largest = 0.0
    for at in range(funded):
        change = max(samples[take[at + 1]], 0.0) / samples[take[at]] - 1.0
        total += change
        largest = max(largest, abs(change))
    if count < 1:
        return
    mean = total / count
    squares = downside = 0.0
    for at in range(funded):
        change = max(samples[take[at + 1]], 0.0) / samples[take[at]] - 1.0
        squares += (change - mean) * (change - mean)
        downside += min(change, 0.0) ** 2
    squares += (count - funded) * mean * mean
    yearly = mean * sqrt(per_year)
    deviation = sqrt(squares / (count - 1)) if count > 1 else 0.0
    if deviation > _NOISE * largest:
        measures.sharpe = _ratio(yearly, deviation)
    measures.sortino = _ratio(yearly, sqrt(downside / count))


@kernel_function
def _ratio(above: float, below: float) -> float:
    if below == 0.0:
        return 0.0 if above == 0.0 else (1e9 if above > 0.0 else -1e9)
    return min(max(above / below, -1e9), 1e9)
