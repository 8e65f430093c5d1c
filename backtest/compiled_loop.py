"""The compiled engine's loop: one kernel over all bars, one parameter set after the other, in exact int64.

Fills, fees and slippage are those of ``execution`` in the same integers. Whatever is measured is measured on the way:
memory is one kernel state, one row of marks (days) and one row of results per set.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from strategies.kernel import KernelBar
from strategies.kernel_cache import compiled_with_cache, kernel_function

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# The rules of a run, by place in the array that the loop gets.
NEXT_OPEN, SLIPPAGE_PPM, FEE_NUMERATOR, FEE_DENOMINATOR, PER_MONEY, PER_FEE, CAPITAL, MAX_LOTS, LOTS, LONG_ONLY = range(10)
# What a set's books hold, by place.
HELD, TRADED, FEES, TURNOVER, TRIPS, WINS, PROFIT, LOSS, FILLS, HEAD, OPEN, SINCE, TIME, STATUS = range(14)
BOOKS: Final = 14
# An open lot in the queue of those to close: first in, first out.
_TICKS, _LOTS, _FEE = range(3)
OPEN_LOTS: Final = 256
# A fill, by column.
BAR, TS_NS, SIGNED_LOTS, PRICE_TICKS, FEE_UNITS = range(5)
FILL: Final = 5
# What a set measures, by place.
EQUITY, DRAWDOWN, DURATION, SHARPE, SORTINO = range(5)
MEASURES: Final = 5
FINE, TOO_LARGE, TOO_MANY_LOTS = range(3)
SAFE: Final = 1 << 61  # no sum of the books passes it, so that no sum of two wraps
_PPM: Final = 1_000_000
_NOISE: Final = 1e-12  # as in metrics_returns


@kernel_function
def trade(
    books: Ints, queue: Ints, lots: int, ticks: int, ts_ns: int, rules: Ints, fills: Ints, bar: int
) -> None:
    """Fill signed lots at a price before slippage: into the books, closing round trips, and into ``fills`` if wanted."""
    size = abs(lots)
    if lots > 0:
        ticks = -(-ticks * (_PPM + rules[SLIPPAGE_PPM]) // _PPM)
    else:
        ticks = max(1, ticks * (_PPM - rules[SLIPPAGE_PPM]) // _PPM)
    fee = _fee(size * ticks, rules[FEE_NUMERATOR], rules[FEE_DENOMINATOR])
    held = books[HELD]
    closing = min(size, abs(held)) if (held > 0) != (lots > 0) else 0
    closing_fee = fee * closing // size
    if closing:
        _close(books, queue, closing, ticks, closing_fee, rules)
    if size > closing:
        _open(books, queue, size - closing, ticks, fee - closing_fee)
    if held == 0:
        books[SINCE] = ts_ns
    elif held + lots == 0:
        books[TIME] += ts_ns - books[SINCE]
    books[HELD] = held + lots
    books[TRADED] -= lots * ticks
    books[FEES] += fee
    books[TURNOVER] += size * ticks
    books[FILLS] += 1
    limit = SAFE // (rules[PER_MONEY] + 1)
    if abs(books[TRADED]) > limit or books[TURNOVER] > SAFE or abs(books[FEES]) > SAFE // (rules[PER_FEE] + 1):
        books[STATUS] = TOO_LARGE
    if len(fills):
        row = fills[books[FILLS] - 1]
        row[BAR], row[TS_NS], row[SIGNED_LOTS], row[PRICE_TICKS], row[FEE_UNITS] = bar, ts_ns, lots, ticks, fee


@kernel_function
def _fee(notional: int, numerator: int, denominator: int) -> int:
    """As ``FeeSchedule.units``: halves away from zero."""
    amount = notional * numerator
    rounded = (2 * abs(amount) + denominator) // (2 * denominator)
    return rounded if amount >= 0 else -rounded


@kernel_function
def _open(books: Ints, queue: Ints, size: int, ticks: int, fee: int) -> None:
    if books[OPEN] == OPEN_LOTS:
        books[STATUS] = TOO_MANY_LOTS
        return
    at = (books[HEAD] + books[OPEN]) % OPEN_LOTS
    queue[at, _TICKS], queue[at, _LOTS], queue[at, _FEE] = ticks, size, fee
    books[OPEN] += 1


@kernel_function
def _close(books: Ints, queue: Ints, size: int, ticks: int, fee: int, rules: Ints) -> None:
    """Each open lot closed, in whole or in part, is a round trip; fees go by lots, rounding to the last of them."""
    direction = 1 if books[HELD] > 0 else -1
    while size and books[OPEN]:
        at = books[HEAD]
        taken = min(size, queue[at, _LOTS])
        entry_fee = queue[at, _FEE] * taken // queue[at, _LOTS]
        exit_fee = fee * taken // size
        moved = direction * (ticks - queue[at, _TICKS]) * taken
        result = rules[PER_MONEY] * moved - rules[PER_FEE] * (entry_fee + exit_fee)
        books[TRIPS] += 1
        if result > 0:
            books[WINS] += 1
            books[PROFIT] += result
        else:
            books[LOSS] -= result
        queue[at, _LOTS] -= taken
        queue[at, _FEE] -= entry_fee
        size -= taken
        fee -= exit_fee
        if queue[at, _LOTS] == 0:
            books[HEAD] = (at + 1) % OPEN_LOTS
            books[OPEN] -= 1


@kernel_function
def measure(samples: Floats, take: Ints, per_year: float, out: Floats) -> None:
    """Sharpe and Sortino of the curve at ``take``, as ``metrics_returns`` has them."""
    count = len(take) - 1
    total = largest = 0.0
    for at in range(count):
        change = _change(samples[take[at]], samples[take[at + 1]])
        total += change
        largest = max(largest, abs(change))
    if count < 1:
        return
    mean = total / count
    squares = downside = 0.0
    for at in range(count):
        change = _change(samples[take[at]], samples[take[at + 1]])
        squares += (change - mean) * (change - mean)
        downside += min(change, 0.0) ** 2
    yearly = mean * sqrt(per_year)
    deviation = sqrt(squares / (count - 1)) if count > 1 else 0.0
    if deviation > _NOISE * largest:
        out[SHARPE] = _ratio(yearly, deviation)
    out[SORTINO] = _ratio(yearly, sqrt(downside / count))


@kernel_function
def _change(before: float, after: float) -> float:
    return after / before - 1.0 if before > 0.0 else 0.0


@kernel_function
def _ratio(above: float, below: float) -> float:
    if below == 0.0:
        return 0.0 if above == 0.0 else (1e9 if above > 0.0 else -1e9)
    return min(max(above / below, -1e9), 1e9)


@cache
def loop_of(step: Any) -> Any:
    """The loop around a kernel's step; compiled at its first call, or read from disk."""

    def run(
        grid: Floats,
        size: int,
        ts_open: Ints,
        ts_close: Ints,
        open: Floats,
        high: Floats,
        low: Floats,
        close: Floats,
        volume: Floats,
        open_ticks: Ints,
        close_ticks: Ints,
        marks: Ints,
        take: Ints,
        take_first: Ints,
        rules: Ints,
        scale: float,
        per_year: float,
        fills: Ints,
        all_books: Ints,
        measures: Floats,
    ) -> None:
        state = np.zeros(size)
        queue = np.zeros((OPEN_LOTS, 3), np.int64)
        samples = np.zeros(len(marks) + 1)
        next_open, capital, lots = rules[NEXT_OPEN] != 0, rules[CAPITAL], rules[LOTS]
        per_money, per_fee = rules[PER_MONEY], rules[PER_FEE]
        lowest = 0.0 if rules[LONG_ONLY] else -np.inf
        for each in range(len(grid)):
            params, books, out = grid[each], all_books[each], measures[each]
            state[:] = 0.0
            last = np.nan
            pending = held = 0
            cash = equity = peak = trough = capital
            peak_at = ts_close[0]
            longest = 0
            drawdown = 0.0
            samples[0] = capital / scale
            at = 0
            for mark in range(len(marks)):
                for i in range(at, marks[mark] + 1):
                    if pending != 0:
                        trade(books, queue, pending, open_ticks[i], ts_open[i], rules, fills, i)
                        pending, held = 0, books[HELD]
                        cash = capital + per_money * books[TRADED] - per_fee * books[FEES]
                    exposure = step(
                        state, KernelBar(ts_close[i], open[i], high[i], low[i], close[i], volume[i]), params
                    )
                    if exposure != last and exposure == exposure:  # another one, and not NaN
                        last = exposure
                        aimed = max(exposure, lowest) * lots
                        if not abs(aimed) <= rules[MAX_LOTS]:
                            books[STATUS] = TOO_LARGE
                            break
                        missing = int(np.rint(aimed)) - held
                        if missing != 0 and next_open:
                            pending = missing
                        elif missing != 0:
                            trade(books, queue, missing, close_ticks[i], ts_close[i], rules, fills, i)
                            held = books[HELD]
                            cash = capital + per_money * books[TRADED] - per_fee * books[FEES]
                    equity = cash + per_money * held * close_ticks[i]
                    if equity >= peak:
                        if trough < peak:
                            longest = max(longest, ts_close[i] - peak_at)
                            drawdown = max(drawdown, 1.0 - (trough / scale) / (peak / scale))
                        peak = trough = equity
                        peak_at = ts_close[i]
                    elif equity < trough:
                        trough = equity
                if books[STATUS] != FINE:
                    break
                at = marks[mark] + 1
                samples[mark + 1] = equity / scale
            if trough < peak:
                longest = max(longest, ts_close[-1] - peak_at)
                drawdown = max(drawdown, 1.0 - (trough / scale) / (peak / scale))
            if held != 0:
                books[TIME] += ts_close[-1] - books[SINCE]
            out[EQUITY], out[DRAWDOWN], out[DURATION] = equity / scale, drawdown, longest
            measure(samples, take if samples[1] == samples[0] else take_first, per_year, out)
            books[HEAD] = 0

    return compiled_with_cache(run)
