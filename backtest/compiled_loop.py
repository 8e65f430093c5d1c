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

from strategies.kernel import KernelBar
from strategies.kernel_cache import compiled_with_cache, kernel_function, rare_function

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# The rules of a run, by place in the array that the loop gets.
NEXT_OPEN, SLIPPAGE, SLIPPAGE_PPM, FEE_NUMERATOR, FEE_DENOMINATOR, PER_MONEY, PER_FEE = range(7)
CAPITAL, MAX_LOTS, MIN_NOTIONAL, LOTS, LONG_ONLY = range(7, 12)
RULES: Final = 12
FIXED, RANGE, VOLUME_SHARE = range(3)  # models of slippage, see execution.slippage
# Rows of a market's columns: times, prices as floats, the same in ticks and lots.
TS_OPEN, TS_CLOSE = range(2)
OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
# What a set's books hold, by place.
HELD, TRADED, FEES, TRIPS, WINS, PROFIT, LOSS, FILLS, FIRST, QUEUED, SINCE, TIME, STATUS = range(13)
BOOKS: Final = 13
FINE, TOO_LARGE, TOO_MANY_LOTS = range(3)
# An open lot in the queue of those to close: first in, first out.
_TICKS, _LOTS, _FEE = range(3)
OPEN_LOTS: Final = 256
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
def trade(
    books: Ints, queue: Ints, out: Floats, fills: Ints, rules: Ints, ticks: Ints,
    closed: int, lots: int, at: int, bar: int, ts_ns: int,
) -> None:  # fmt: skip
    """Fill signed lots at ``at`` ticks moved by the slippage: into the books, closing trips, into ``fills`` if wanted.

    ``closed`` is the last bar that is known in full, ``bar`` the first whose equity the fill counts in.
    """
    size = abs(lots)
    price = slipped(ticks, closed, lots, at, rules)
    fee = fee_on(size * price, rules[FEE_NUMERATOR], rules[FEE_DENOMINATOR])
    held = books[HELD]
    if held == 0:
        books[SINCE] = ts_ns
    elif held + lots == 0:
        books[TIME] += ts_ns - books[SINCE]
    _match(books, queue, size, 1 if lots > 0 else -1, price, fee, rules)
    books[HELD] = held + lots
    books[TRADED] -= lots * price
    books[FEES] += fee
    books[FILLS] += 1
    out[TURNOVER] += float(size) * price
    if abs(books[TRADED]) > SAFE // rules[PER_MONEY] or abs(books[FEES]) > SAFE // rules[PER_FEE]:
        books[STATUS] = TOO_LARGE
    if len(fills):
        row = fills[books[FILLS] - 1]
        row[BAR], row[TS_NS], row[SIGNED_LOTS], row[PRICE_TICKS], row[FEE_UNITS] = bar, ts_ns, lots, price, fee


@rare_function
def share(amount: int, lots: int, of: int) -> int:
    """``amount * lots // of`` for ``0 < lots <= of``, exactly, also where the product does not fit in 64 bits."""
    whole, rest = amount // of, amount % of
    if rest <= SAFE // lots:
        return whole * lots + rest * lots // of
    found = left = 0
    for bit in range(60, -1, -1):  # long multiplication and division at once
        found, left = 2 * found, 2 * left + (rest if lots >> bit & 1 else 0)
        found, left = found + left // of, left % of
    return whole * lots + found


@kernel_function
def slipped(ticks: Ints, closed: int, lots: int, at: int, rules: Ints) -> int:
    """As ``Slippage.moved``."""
    ppm: int = rules[SLIPPAGE_PPM]
    model = rules[SLIPPAGE]
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
def _match(books: Ints, queue: Ints, left: int, direction: int, price: int, fee: int, rules: Ints) -> None:
    """As ``round_trips``: closes what is open the other way, oldest first, each a trip; queues what is left."""
    held = books[HELD]
    while left and held * direction < 0:
        oldest = queue[books[FIRST]]
        lots = min(left, oldest[_LOTS])
        paid, opening = share(fee, lots, left), share(oldest[_FEE], lots, oldest[_LOTS])
        result = -rules[PER_MONEY] * direction * lots * (price - oldest[_TICKS]) - rules[PER_FEE] * (paid + opening)
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
        oldest[_LOTS] -= lots
        oldest[_FEE] -= opening
        if oldest[_LOTS] == 0:
            books[FIRST] = (books[FIRST] + 1) % OPEN_LOTS
            books[QUEUED] -= 1
    if left == 0:
        return
    if books[QUEUED] == OPEN_LOTS:
        books[STATUS] = TOO_MANY_LOTS
        return
    newest = queue[(books[FIRST] + books[QUEUED]) % OPEN_LOTS]
    newest[_TICKS], newest[_LOTS], newest[_FEE] = price, left, fee
    books[QUEUED] += 1


@rare_function
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
        memory, queue = np.zeros(sizes.max()), np.zeros((OPEN_LOTS, 3), np.int64)
        ts_close, closes = times[TS_CLOSE], ticks[CLOSE]
        first, high, low, close, volume = prices[OPEN], prices[HIGH], prices[LOW], prices[CLOSE], prices[VOLUME]
        next_open, capital, least, most = rules[NEXT_OPEN], rules[CAPITAL], rules[MIN_NOTIONAL], rules[MAX_LOTS]
        per_money, per_fee, lots = rules[PER_MONEY], rules[PER_FEE], rules[LOTS]
        lowest = 0.0 if rules[LONG_ONLY] else -np.inf
        for each in range(len(grid)):
            params, books, out = grid[each], all_books[each], measures[each]
            state, samples = memory[: sizes[each]], kept[each % len(kept)]
            state[:] = 0.0
            before = np.nan
            pending = held = worth = longest = at = 0
            cash = equity = peak = trough = capital
            peak_ts = ts_close[0]
            drawdown = 0.0
            samples[0] = capital / scale
            for mark in range(len(marks)):
                for i in range(at, marks[mark] + 1):
                    if pending != 0:
                        price, ts_ns = ticks[OPEN, i], times[TS_OPEN, i]
                        trade(books, queue, out, fills, rules, ticks, i - 1, pending, price, i, ts_ns)
                        pending, held, worth = 0, books[HELD], per_money * books[HELD]
                        cash = capital + per_money * books[TRADED] - per_fee * books[FEES]
                    u = np.uint64(i)  # an index that needs no test for counting from the end
                    bar = KernelBar(ts_close[u], first[u], high[u], low[u], close[u], volume[u])
                    exposure = step(state, bar, params)
                    if exposure != before:  # also while it is NaN
                        before = exposure
                        aimed = max(exposure, lowest) * lots
                        if abs(aimed) > most:
                            books[STATUS] = TOO_LARGE
                        elif exposure == exposure:
                            missing = int(np.rint(aimed)) - held
                            if missing == 0 or abs(missing) * closes[i] < least:
                                pass
                            elif next_open:
                                pending = missing
                            else:
                                trade(books, queue, out, fills, rules, ticks, i, missing, closes[i], i, ts_close[i])
                                held, worth = books[HELD], per_money * books[HELD]
                                cash = capital + per_money * books[TRADED] - per_fee * books[FEES]
                        if books[STATUS]:
                            break
                    equity = cash + worth * closes[u]
                    if equity >= peak:
                        if trough < peak:
                            longest = max(longest, ts_close[i] - peak_ts)
                            drawdown = max(drawdown, 1.0 - (trough / scale) / (peak / scale))
                        peak = trough = equity
                        peak_ts = ts_close[u]
                    elif equity < trough:
                        trough = equity
                if books[STATUS]:
                    break
                at = marks[mark] + 1
                samples[mark + 1] = equity / scale
            if trough < peak:
                longest = max(longest, ts_close[-1] - peak_ts)
                drawdown = max(drawdown, 1.0 - (trough / scale) / (peak / scale))
            if held != 0:
                books[TIME] += ts_close[-1] - books[SINCE]
            out[EQUITY], out[DRAWDOWN], out[DURATION] = equity / scale, drawdown, longest
            measure(samples, take if samples[1] == samples[0] else take_first, per_year, out)

    return compiled_with_cache(run)
