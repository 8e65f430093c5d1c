"""The compiled engine's loop: one kernel over all bars, one parameter set after the other, in exact int64.

Fills, fees and slippage are those of ``execution`` in the same integers. Whatever is measured is measured on the way:
memory is one kernel state, a row of results per set, and a row of marks (days), for each set only if asked for.
"""

from __future__ import annotations

from functools import cache
from math import sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from strategies.kernel_cache import compiled_with_cache, kernel_function, rare_function
from strategies.kernels.strategy import KernelBar

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FIXED, RANGE, VOLUME_SHARE = range(3)  # models of slippage, see execution.slippage
# Rows of a market's columns: times, prices as floats, the same in ticks and lots.
TS_OPEN, TS_CLOSE = range(2)
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
# A set's books, by place: what they hold, then the rules of the run, then the open lots to close, first in, first out.
# All in one array, for numba counts the references to every array that it passes on.
HELD, TRADED, FEES, TRIPS, WINS, PROFIT, LOSS, FILLS, FIRST, QUEUED, SINCE, TIME, STATUS = range(13)
BOOKS: Final = 13
NEXT_OPEN, SLIPPAGE, SLIPPAGE_PPM, FEE_NUMERATOR, FEE_DENOMINATOR, PER_MONEY, PER_FEE = range(BOOKS, BOOKS + 7)
CAPITAL, MAX_LOTS, MIN_NOTIONAL, LOTS, LONG_ONLY, MOST_TRADED, MOST_FEES = range(BOOKS + 7, BOOKS + 14)
RULES: Final = BOOKS + 14  # where they end, and the queue begins
_TICKS, _LOTS, _FEE = range(3)  # of an open lot
OPEN_LOTS: Final = 256
WHOLE: Final = RULES + 3 * OPEN_LOTS
FINE, TOO_LARGE, TOO_MANY_LOTS = range(3)
# A fill, by column.
BAR, TS_NS, SIGNED_LOTS, PRICE_TICKS, FEE_UNITS = range(5)
FILL: Final = 5
# What a set measures, by place.
EQUITY, DRAWDOWN, DURATION, SHARPE, SORTINO, TURNOVER = range(6)
MEASURES: Final = 6
SAFE: Final = 1 << 60  # no amount in the books passes it, so that no sum of four wraps
_PPM: Final = 1_000_000
_NOISE: Final = 1e-12  # as in metrics_returns


@rare_function
def trade(books: Ints, lots: int, price: int, ts_ns: int) -> int:
    """Fill signed lots at ``price`` in ticks: into the books, closing trips. Returns the fee."""
    size = abs(lots)
    fee = fee_on(size * price, books[FEE_NUMERATOR], books[FEE_DENOMINATOR])
    held = books[HELD]
    if held == 0:
        books[SINCE] = ts_ns
    elif held + lots == 0:
        books[TIME] += ts_ns - books[SINCE]
    _match(books, size, 1 if lots > 0 else -1, price, fee)
    books[HELD] = held + lots
    books[TRADED] -= lots * price
    books[FEES] += fee
    books[FILLS] += 1
    if abs(books[TRADED]) > books[MOST_TRADED] or abs(books[FEES]) > books[MOST_FEES]:
        books[STATUS] = TOO_LARGE
    return fee


@rare_function
def share(amount: int, lots: int, of: int) -> int:
    """``amount * lots // of`` for ``0 < lots <= of``, exactly, also where the product does not fit in 64 bits."""
    if lots == of:
        return amount
    whole, rest = amount // of, amount % of
    if rest <= SAFE // lots:
        return whole * lots + rest * lots // of
    found = left = 0
    for bit in range(60, -1, -1):  # long multiplication and division at once
        found, left = 2 * found, 2 * left + (rest if lots >> bit & 1 else 0)
        found, left = found + left // of, left % of
    return whole * lots + found


@kernel_function
def slipped(books: Ints, ticks: Ints, closed: int, lots: int, at: int) -> int:
    """As ``Slippage.moved``; ``closed`` is the last bar that is known in full."""
    ppm: int = books[SLIPPAGE_PPM]
    model = books[SLIPPAGE]
    if ppm == 0:
        return at
    if model == RANGE:
        by: int = -(-(ticks[HIGH, closed] - ticks[LOW, closed]) * ppm // _PPM)
        return at + by if lots > 0 else max(1, at - by)
    if model == VOLUME_SHARE:
        volume = max(1, ticks[VOLUME, closed])
        times, rest = abs(lots) // volume, abs(lots) % volume
        if times > _PPM * _PPM // (ppm * ppm):
            ppm = _PPM
        else:
            ppm = min(_PPM, root(ppm * ppm * times + (share(ppm * ppm, rest, volume) if rest else 0)))
    if lots > 0:
        return -(-at * (_PPM + ppm) // _PPM)
    return max(1, at * (_PPM - ppm) // _PPM)


@kernel_function
def root(square: int) -> int:
    """As ``math.isqrt``."""
    found = int(sqrt(square))
    while found * found > square:
        found -= 1
    while (found + 1) * (found + 1) <= square:
        found += 1
    return found


@kernel_function
def fee_on(notional: int, numerator: int, denominator: int) -> int:
    """As ``FeeSchedule.units``: halves away from zero."""
    amount = notional * numerator
    rounded = (2 * abs(amount) + denominator) // (2 * denominator)
    return rounded if amount >= 0 else -rounded


@kernel_function
def _match(books: Ints, left: int, direction: int, price: int, fee: int) -> None:
    """As ``round_trips``: closes what is open the other way, oldest first, each a trip; queues what is left."""
    held = books[HELD]
    while left and held * direction < 0:
        oldest = RULES + 3 * books[FIRST]
        lots = min(left, books[oldest + _LOTS])
        paid, opening = share(fee, lots, left), share(books[oldest + _FEE], lots, books[oldest + _LOTS])
        moved = direction * lots * (books[oldest + _TICKS] - price)
        result = books[PER_MONEY] * moved - books[PER_FEE] * (paid + opening)
        books[TRIPS] += 1
        if result > 0:
            books[WINS] += 1
            books[PROFIT] += result
        else:
            books[LOSS] -= result
        if books[PROFIT] > SAFE or books[LOSS] > SAFE:
            books[STATUS] = TOO_LARGE
            return
        left, fee, held = left - lots, fee - paid, held + direction * lots
        books[oldest + _LOTS] -= lots
        books[oldest + _FEE] -= opening
        if books[oldest + _LOTS] == 0:
            books[FIRST] = (books[FIRST] + 1) % OPEN_LOTS
            books[QUEUED] -= 1
    if left == 0:
        return
    if books[QUEUED] == OPEN_LOTS:
        books[STATUS] = TOO_MANY_LOTS
        return
    newest = RULES + 3 * ((books[FIRST] + books[QUEUED]) % OPEN_LOTS)
    books[newest + _TICKS], books[newest + _LOTS], books[newest + _FEE] = price, left, fee
    books[QUEUED] += 1


@rare_function
def measure(samples: Floats, take: Ints, per_year: float, out: Floats) -> None:
    """Sharpe and Sortino of the curve at ``take``, as ``backtest.metrics.returns`` has them."""
    count = len(take) - 1
    there = 0  # as many periods begin with a capital: what is gone stays gone
    while there < count and samples[take[there]] > 0.0:
        there += 1
    total = largest = 0.0
    for at in range(there):
        change = max(samples[take[at + 1]], 0.0) / samples[take[at]] - 1.0
        total += change
        largest = max(largest, abs(change))
    if count < 1:
        return
    mean = total / count
    squares = downside = 0.0
    for at in range(there):
        change = max(samples[take[at + 1]], 0.0) / samples[take[at]] - 1.0
        squares += (change - mean) * (change - mean)
        downside += min(change, 0.0) ** 2
    squares += (count - there) * mean * mean
    yearly = mean * sqrt(per_year)
    deviation = sqrt(squares / (count - 1)) if count > 1 else 0.0
    if deviation > _NOISE * largest:
        out[SHARPE] = _ratio(yearly, deviation)
    out[SORTINO] = _ratio(yearly, sqrt(downside / count))


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
        sizes: Ints,
        times: Ints,
        prices: Floats,
        ticks: Ints,
        marks: Ints,
        take: Ints,
        take_first: Ints,
        rules: Ints,
        scale: float,
        per_year: float,
        fills: Ints,
        all_books: Ints,
        measures: Floats,
        kept: Floats,
    ) -> None:
        memory, books = np.zeros(sizes.max()), np.zeros(WHOLE, np.int64)
        longest_day = marks[0] + 1
        for mark in range(1, len(marks)):
            longest_day = max(longest_day, marks[mark] - marks[mark - 1])
        when, what = np.zeros(longest_day, np.int64), np.zeros(longest_day)
        ts_close, closes = times[TS_CLOSE], ticks[CLOSE]
        first, high, low, close, volume = prices[OPEN], prices[HIGH], prices[LOW], prices[CLOSE], prices[VOLUME]
        next_open, capital, least, most = rules[NEXT_OPEN], rules[CAPITAL], rules[MIN_NOTIONAL], rules[MAX_LOTS]
        per_money, per_fee, lots = rules[PER_MONEY], rules[PER_FEE], rules[LOTS]
        lowest = 0.0 if rules[LONG_ONLY] else -np.inf
        traded_at, filled_at = (TS_OPEN, OPEN) if next_open else (TS_CLOSE, CLOSE)
        for each in range(len(grid)):
            params, out = grid[each], measures[each]
            state, samples = memory[: sizes[each]], kept[each % len(kept)]
            state[:] = 0.0
            books[:RULES] = rules
            before = np.nan
            missing = held = worth = longest = at = 0
            cash = equity = peak = trough = capital
            peak_ts = ts_close[0]
            drawdown = turnover = 0.0
            samples[0] = capital / scale
            for mark in range(len(marks)):
                stop = marks[mark] + 1
                # What the kernel answers does not depend on what came of it. So first all answers of the day...
                changes = 0
                for i in range(at, stop):
                    u = np.uint64(i)  # an index that needs no test for counting from the end
                    bar = KernelBar(ts_close[u], first[u], high[u], low[u], close[u], volume[u])
                    exposure = step(state, bar, params)
                    if exposure != before:  # also while it is NaN
                        before = exposure
                        if exposure == exposure:
                            when[changes], what[changes] = i, exposure
                            changes += 1
                # ... and then what they lead to, from the bar ``at`` where the last one trades to that of the next.
                for change in range(changes + 1):
                    until = when[change] + next_open if change < changes else stop
                    if missing != 0 and at < until:
                        price = slipped(books, ticks, at - next_open, missing, ticks[filled_at, at])
                        ts_ns = times[traded_at, at]
                        fee = trade(books, missing, price, ts_ns)
                        if len(fills):
                            row = fills[books[FILLS] - 1]
                            row[BAR], row[TS_NS], row[SIGNED_LOTS] = at, ts_ns, missing
                            row[PRICE_TICKS], row[FEE_UNITS] = price, fee
                        turnover += float(abs(missing)) * price
                        missing, held, worth = 0, books[HELD], per_money * books[HELD]
                        cash = capital + per_money * books[TRADED] - per_fee * books[FEES]
                    for i in range(at, until if held != 0 else min(until, at + 1)):  # flat bars are all alike
                        u = np.uint64(i)
                        equity = cash + worth * closes[u]
                        if equity >= peak:
                            if trough < peak:
                                longest = max(longest, ts_close[i] - peak_ts)
                                drawdown = max(drawdown, 1.0 - (trough / scale) / (peak / scale))
                            peak = trough = equity
                            peak_ts = ts_close[u]
                        elif equity < trough:
                            trough = equity
                    if at < until:
                        at = until
                        if equity == peak and held == 0:
                            peak_ts = ts_close[at - 1]
                    if change < changes:
                        aimed = max(what[change], lowest) * lots
                        if abs(aimed) > most:
                            books[STATUS] = TOO_LARGE
                        else:
                            missing = int(np.rint(aimed)) - held
                            if abs(missing) * closes[when[change]] < least:
                                missing = 0
                    if books[STATUS]:
                        break
                if books[STATUS]:
                    break
                samples[mark + 1] = equity / scale
            if trough < peak:
                longest = max(longest, ts_close[-1] - peak_ts)
                drawdown = max(drawdown, 1.0 - (trough / scale) / (peak / scale))
            if held != 0:
                books[TIME] += ts_close[-1] - books[SINCE]
            all_books[each] = books[:BOOKS]
            out[EQUITY], out[DRAWDOWN], out[DURATION], out[TURNOVER] = equity / scale, drawdown, longest, turnover
            measure(samples, take if samples[1] == samples[0] else take_first, per_year, out)

    return compiled_with_cache(run)
