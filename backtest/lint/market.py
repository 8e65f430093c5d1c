"""Lint rules on the market and its data: what holding would have made, gaps, dead and repeated bars, wrong prices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from backtest.data.series import BarSeries
from backtest.lint.case import Case
from backtest.lint.finding import Finding, Severity
from backtest.metrics.formatting import counted, duration, minute, number, percent
from backtest.metrics.returns import Floats
from core.exact import ordered_sum

_ALWAYS_PCT: Final = 90.0
_MOSTLY_MARKET: Final = 0.5  # of the variance of daily results
_FEW_DAYS: Final = 20
_DEAD: Final = 0.05  # share of bars without volume
_REPEATS: Final = 5  # equal bars in a row that no live market makes
_FAR: Final = 12.0  # robust deviations that make a spike
_SPIKE: Final = 0.01  # and the least it must be
_AROUND: Final = 10  # bars before and after it that it is compared with
_BACK: Final = 0.6  # part of the spike that the next bar takes back
_JUMP: Final = float(np.log(1.95))  # between two closes
_LONG_WARM_UP: Final = 0.2
_PERIOD_NAMES: Final = ("period", "window", "lookback", "slow", "span")


def always_in(case: Case) -> Iterator[Finding]:
    """In the market nearly all the time while it rose: what would holding have made?"""
    exposure, series = case.result.metrics.get("exposure_pct", 0.0), case.main
    if series is None or exposure < _ALWAYS_PCT or case.net <= 0:
        return
    rose = float(series.close[-1] / series.close[0]) - 1.0
    span = int(series.ts_close[-1] - series.ts_open[0])
    notional_time = ordered_sum(
        (1 if trip.side == "buy" else -1) * trip.qty * trip.price_open * (trip.ts_close - trip.ts_open)
        for trip in case.result.round_trips
        if trip.symbol == series.symbol
    )
    holding = rose * notional_time / span
    if holding < case.net / 2:
        return
    moved = "rose" if rose > 0 else "fell"
    yield Finding(
        "always_in",
        Severity.WARNING,
        f"It was in the market {percent(exposure, decimals=0)} of the time while that {moved} "
        f"{percent(abs(100 * rose), decimals=1)}: just holding as much would have made {case.money(holding)} of the "
        f"{case.money(case.net)}.",
        "Compare with buy and hold; what is beyond it is all the strategy did.",
        holding / case.net,
    )


def mostly_market(case: Case) -> Iterator[Finding]:
    """Whether day by day the result is that of the market."""
    market, days = case.market_days, case.day_pnl
    if len(market) < _FEW_DAYS or case.net <= 0 or not days.std() or not market.std():
        return
    share = float(np.corrcoef(market, days)[0, 1]) ** 2
    if share >= _MOSTLY_MARKET:
        yield Finding(
            "mostly_market",
            Severity.WARNING,
            f"{percent(100 * share, decimals=0)} of the ups and downs from day to day are the market's.",
            "Hedge it to see what is left, or buy the market, which is cheaper.",
            share,
        )


def gaps(case: Case) -> Iterator[Finding]:
    """Missing bars."""
    for series in case.series:
        if not series.gaps:
            continue
        missing = series.ts_open[1:] - series.ts_close[:-1]
        share = float(missing.sum()) / float(series.ts_close[-1] - series.ts_open[0])
        at = int(missing.argmax())
        yield Finding(
            "gaps",
            Severity.WARNING if share > 0.001 else Severity.INFO,
            f"{_of(series)}: {counted(series.gaps, 'gap')}, the longest of {duration(float(missing[at]) / 1e9)} at "
            f"{minute(int(series.ts_close[at]))}, {percent(100 * share)} of the time.",
            "Fetch what is missing; averages run across gaps as if nothing were amiss.",
            series.gaps,
        )


def dead_bars(case: Case) -> Iterator[Finding]:
    """Bars in which nothing was traded, yet orders fill."""
    for series in case.series:
        share = float((series.volume == 0).mean())
        if share > _DEAD:
            yield Finding(
                "dead_bars",
                Severity.WARNING,
                f"{_of(series)}: {percent(100 * share, decimals=1)} of the bars have no volume, so nobody could have "
                "traded "
                "at their prices.",
                "Use a longer timeframe or a market that trades.",
                share,
            )


def repeated_bars(case: Case) -> Iterator[Finding]:
    """The same bar again and again, volume included: a stuck recorder."""
    for series in case.series:
        columns = (series.open, series.high, series.low, series.close, series.volume)
        equal = np.logical_and.reduce([column[1:] == column[:-1] for column in columns]) & (series.volume[1:] > 0)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], equal.astype(np.int8), [0]])))
        starts, runs = edges[::2], edges[1::2] - edges[::2] + 1
        long = runs >= _REPEATS
        if long.any():
            at = int(starts[runs.argmax()])
            yield Finding(
                "repeated_bars",
                Severity.WARNING,
                f"{_of(series)}: {int(runs[long].sum()):,} bars repeat the one before them exactly, up to "
                f"{int(runs.max()):,} in a row from {minute(int(series.ts_open[at]))}.",
                "Fetch that time again: the recorder was stuck.",
                float(runs[long].sum()),
            )


def spikes(case: Case) -> Iterator[Finding]:
    """Closes far off that the next bar takes back: wrong prints, on which a backtest makes money nobody can make."""
    for series in case.series:
        moves = np.diff(np.log(series.close))
        moving = np.abs(moves[moves != 0])
        if len(moving) < 2:
            continue
        usual = 1.4826 * float(np.median(moving))
        far = np.abs(moves) > max(_FAR * usual, _SPIKE)
        back = -moves[1:] * np.sign(moves[:-1]) >= _BACK * np.abs(moves[:-1])
        wrong = [at for at in np.flatnonzero(far[:-1] & back).tolist() if _stands_out(moves, at)]
        if wrong:
            at = wrong[0] + 1
            yield Finding(
                "spikes",
                Severity.WARNING,
                f"{_of(series)}: {len(wrong):,} of the closes are a jump that the next bar takes back, the first one "
                f"{percent(100 * float(np.expm1(moves[at - 1])), signed=True)} at {minute(int(series.ts_close[at]))}.",
                "Check them against another source; trades on wrong prints are no trades.",
                len(wrong),
            )


def jumps(case: Case) -> Iterator[Finding]:
    """Prices that double, halve or more from one bar to the next and stay there: a split or a new denomination."""
    for series in case.series:
        moves = np.diff(np.log(series.close))
        moving = np.abs(moves[moves != 0])
        if not len(moving):
            continue
        usual = 1.4826 * float(np.median(moving)) if len(moving) > 1 else 0.0
        far = np.abs(moves) > max(_JUMP, _FAR * usual)
        far[:-1] &= -moves[1:] * np.sign(moves[:-1]) < _BACK * np.abs(moves[:-1])  # what comes back is a spike
        far[1:] &= -moves[:-1] * np.sign(moves[1:]) < _BACK * np.abs(moves[1:])
        bars = np.flatnonzero(far) + 1
        if len(bars):
            at = int(bars[0])
            factor = float(series.close[at] / series.close[at - 1])
            times = f"{number(factor, 1)} times" if factor > 1 else f"1/{number(1 / factor, 1)} of"
            yield Finding(
                "jumps",
                Severity.WARNING,
                f"{_of(series)}: {counted(len(bars), 'jump')} from one bar to the next, the first one to bar {at:,} at "
                f"{minute(int(series.ts_open[at]))}: its close is {times} the close before it.",
                "Look for a split, a new denomination or two series in one file, and adjust the prices before it.",
                factor,
            )


def early_bars(case: Case) -> Iterator[Finding]:
    """Longer bars whose close is that of minutes yet to come: stamped with their start instead of their end."""
    for long in case.series:
        length = int(np.median(long.ts_close - long.ts_open))
        for short in case.series:
            if short.symbol != long.symbol or int(np.median(short.ts_close - short.ts_open)) * 2 > length:
                continue
            now, later = (_matches(long, short, shift) for shift in (0, length))
            if later > 0.5 and now < later:
                yield Finding(
                    "early_bars",
                    Severity.SERIOUS,
                    f"{_of(long)}: {percent(100 * later, decimals=0)} of the bars close at the price that "
                    f"{short.timeframe} bars show {duration(length / 1e9)} later: they were delivered before they "
                    "were over.",
                    "Their time stamp is their start: load them with stamp='open'.",
                    later,
                )


def warm_up(case: Case) -> Iterator[Finding]:
    """Orders before the strategy had seen what it needs, or a run that is mostly warm-up."""
    series, config = case.main, case.result.config
    if series is None or config is None:
        return
    named = [
        int(value)
        for name, value in config.params.items()
        if isinstance(value, int) and not isinstance(value, bool) and any(word in name for word in _PERIOD_NAMES)
    ]
    needed = case.warm_up if case.warm_up is not None else max((n for n in named if n < len(series)), default=0)
    if not needed:
        return
    source = "its warm-up" if case.warm_up is not None else "the longest of its periods"
    if case.result.orders:
        first = min(int(order["ts_accepted_ns"]) for order in case.result.orders)
        seen = int(np.searchsorted(series.ts_close, first, side="right"))
        if seen < needed:
            yield Finding(
                "warm_up",
                Severity.WARNING,
                f"The first order came after {seen:,} bars, before {source} of {needed:,} was over.",
                "Give it the bars before the start, and count from when it is warm.",
                seen,
            )
    if needed > _LONG_WARM_UP * len(series):
        yield Finding(
            "warm_up",
            Severity.WARNING,
            f"{needed:,} of {len(series):,} bars go into {source}; only {number(len(series) / needed, 1)} times as "
            "many are "
            "judged.",
            "Load more data.",
            needed / len(series),
        )


def _stands_out(moves: Floats, at: int) -> bool:
    """Whether the moves around a jump and its return are small: where all of them are large, the market moved."""
    around = np.concatenate([moves[max(at - _AROUND, 0) : at], moves[at + 2 : at + 2 + _AROUND]])
    return bool(len(around) and abs(moves[at]) > _FAR * 1.4826 * float(np.median(np.abs(around))))


def _matches(long: BarSeries, short: BarSeries, shift: int) -> float:
    """Share of the longer bars that close as the shorter ones do, so much after."""
    at = np.searchsorted(short.ts_close, long.ts_close + shift)
    matched = at < len(short)
    matched[matched] = short.ts_close[at[matched]] == long.ts_close[matched] + shift
    return float((short.close[at[matched]] == long.close[matched]).mean()) if matched.any() else 0.0


def _of(series: BarSeries) -> str:
    return f"{series.symbol} {series.timeframe}"
