"""Lint rules on how the run was filled and what it cost: kind assumptions, thin profit, size, leverage, refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from backtest.contracts import FillTiming
from backtest.lint.case import Case
from backtest.lint.finding import Finding, Severity
from backtest.metrics.formatting import minute, number, percent
from backtest.metrics.trades import MUCH, largest_position

_BPS: Final = 10_000.0
_LARGE_SHARE: Final = 0.05  # of a bar's volume
_MANY: Final = 0.05  # of all orders
_THIN_BPS: Final = 5.0  # a profit that this much more cost takes away is thin whatever was paid
_ONE_BPS: Final = 1.0


def same_close(case: Case) -> Iterator[Finding]:
    """Fills at a price that was known only once it was gone."""
    config = case.result.config
    count = sum(order["type"] == "market" for order in case.result.orders)
    if config is not None and config.fill_timing is FillTiming.BAR_CLOSE and count:
        yield Finding(
            "same_close",
            Severity.WARNING,
            f"{count:,} market orders filled at the very close that decided them, a price known only once it is gone.",
            "Run again with --fill next_open and compare.",
            count,
        )


def no_fees(case: Case) -> Iterator[Finding]:
    """A commission of nothing, or less."""
    config, fills = case.result.config, len(case.result.fills)
    if config is None or not fills or config.commission_rate > 0:
        return
    cost = "free" if not config.commission_rate else f"paid {percent(-100 * config.commission_rate, decimals=3)} for"
    yield Finding(
        "no_fees",
        Severity.SERIOUS,
        f"{fills:,} fills were {cost}: hardly any account trades at that.",
        "Set --commission to what your account pays.",
        config.commission_rate,
    )


def no_slippage(case: Case) -> Iterator[Finding]:
    """Market orders that never paid the spread."""
    config = case.result.config
    count = sum(order["type"] == "market" for order in case.result.orders)
    if config is not None and count and not config.slippage_bps and config.fill_timing is not FillTiming.NEXT_TRADE:
        yield Finding(
            "no_slippage",
            Severity.WARNING,
            f"{count:,} market orders paid neither spread nor slippage (0 bps).",
            "Set --slippage to half the usual spread at least.",
            count,
        )


def touched_limits(case: Case) -> Iterator[Finding]:
    """Resting orders that filled although the price only touched their limit, where a queue stood before them."""
    config, series = case.result.config, case.main
    if config is None or series is None or config.fill_timing is FillTiming.NEXT_TRADE:
        return
    limits = {order["order_id"]: order["limit_price"] for order in case.result.orders if order["type"] == "limit"}
    rested = [
        fill
        for fill in case.result.fills
        if fill["liquidity"] == "maker" and fill["symbol"] == series.symbol and fill["order_id"] in limits
    ]
    if not rested:
        return
    at = _bars_of(case, rested)
    extremes = np.where([fill["side"] == "buy" for fill in rested], series.low[at], series.high[at])
    touched = int((extremes == np.array([fill["price"] for fill in rested])).sum())
    if touched > _MANY * len(rested):
        yield Finding(
            "touched_limits",
            Severity.WARNING,
            f"{touched:,} of {len(rested):,} resting orders filled at the very low or high of their bar, where the "
            "price "
            "only touched them.",
            "Count on few of these: whoever stood before you in the queue was served first. Test on trades "
            "(--fill next_trade --fill-model trade_flow).",
            touched / len(rested),
        )


def large_orders(case: Case) -> Iterator[Finding]:
    """Fills that took a large part of what was traded."""
    series = case.main
    if series is None:
        return
    fills = [fill for fill in case.result.fills if fill["symbol"] == series.symbol]
    if not fills:
        return
    volume = series.volume[_bars_of(case, fills)]
    size = np.array([fill["qty"] for fill in fills])
    share = np.where(volume > 0, size / np.where(volume > 0, volume, 1.0), np.inf)
    large, none = int((share > _LARGE_SHARE).sum()), int((volume == 0).sum())
    if large <= 0.01 * len(fills):
        return
    most = share[np.isfinite(share)].max(initial=0.0)
    yield Finding(
        "large_orders",
        Severity.WARNING,
        f"{large:,} of {len(fills):,} fills took more than {percent(100 * _LARGE_SHARE, decimals=0)} of their bar's "
        f"volume (up to {percent(100 * most, decimals=0)}"
        + (f"; {none:,} in bars without any trade)." if none else ")."),
        "Trade smaller, or model the impact (--slippage-model volume).",
        large / len(fills),
    )


def thin_profit(case: Case) -> Iterator[Finding]:
    """What more of costs it takes to lose, per amount traded; no second run is needed for that."""
    result, turnover = case.result, case.turnover
    if not turnover:
        return
    paid, margin = _BPS * result.fees_paid / turnover, _BPS * case.net / turnover
    gross = case.net + result.fees_paid
    if gross <= 0:
        yield Finding(
            "loses_before_fees",
            Severity.WARNING,
            f"It loses before any fee: {case.money(gross, signed=True)} on {case.money(turnover)} traded, and "
            f"{case.money(-result.fees_paid, signed=True)} of fees on top.",
            "Cheaper trading does not help here; the signal itself does not pay.",
            gross,
        )
    elif case.net <= 0:
        yield Finding(
            "fees_eat_it",
            Severity.WARNING,
            f"Fees eat it: {case.money(gross, signed=True)} before and {case.money(case.net, signed=True)} after "
            "them; it "
            f"breaks even at {number(paid + margin)} bps per amount traded and paid {number(paid)}.",
            "Trade less often, or rest orders instead of taking.",
            paid + margin,
        )
    elif margin < max(paid, _THIN_BPS):
        yield Finding(
            "thin_profit",
            Severity.WARNING,
            f"The profit is gone when trading costs {number(margin)} bps more per amount traded; fees of "
            f"{number(paid)} bps "
            "were paid.",
            "Measure your true costs, spread and slippage included, before trading this.",
            margin,
        )


def doubled_costs(case: Case) -> Iterator[Finding]:
    """What is left when fees and slippage are twice as high, by another run."""
    config = case.result.config
    if case.rerun is None or config is None or case.net <= 0:
        return
    commission, slippage = 2 * config.commission_rate, max(2 * config.slippage_bps, _ONE_BPS)
    if commission > 0.05:
        return
    maker = None if config.maker_rate is None else min(max(2 * config.maker_rate, 0.0), 0.05)  # no rebate
    again = case.rerun(replace(config, commission_rate=commission, maker_rate=maker, slippage_bps=slippage))
    net = again.final_capital - again.initial_capital
    if net > case.net / 2:
        return
    yield Finding(
        "doubled_costs",
        Severity.SERIOUS if net <= 0 else Severity.WARNING,
        f"With fees of {percent(100 * commission, decimals=3)} and {number(slippage)} bps of slippage, about twice as "
        "much, "
        f"{case.money(case.net, signed=True)} becomes {case.money(net, signed=True)}.",
        "A profit that does not survive twice the costs is a bet on cheap trading.",
        net,
    )


def borrowed_money(case: Case) -> Iterator[Finding]:
    """Positions larger than the capital, and capital that was gone: no margin call is modelled."""
    result = case.result
    equity = case.measured.equity
    if (equity <= 0).any():
        at = int(case.measured.ts_ns[int((equity <= 0).argmax())])
        yield Finding(
            "borrowed_money",
            Severity.SERIOUS,
            f"The capital was gone at {minute(at)} ({case.money(float(equity.min()))} at the lowest), yet it traded "
            "on.",
            "Everything after that is fiction: trade smaller.",
            float(equity.min()),
        )
        return
    times = largest_position(result.round_trips) / result.initial_capital
    if times > MUCH:
        yield Finding(
            "borrowed_money",
            Severity.WARNING,
            f"Positions of up to {number(times, 1)} times the initial capital were held; margin calls, liquidation and "
            "interest are not modelled.",
            "Trade smaller, or start with the capital that this takes.",
            times,
        )


def refused_orders(case: Case) -> Iterator[Finding]:
    """Orders that never were: the result is that of another strategy."""
    refused = sum(case.result.refused.values()) or case.result.denied
    orders = refused + len(case.result.fills)
    if not refused or refused <= _MANY * orders:
        return
    codes = (
        ", ".join(f"{count:,} {code}" for code, count in sorted(case.result.refused.items())) or "by the risk engine"
    )
    yield Finding(
        "refused_orders",
        Severity.WARNING,
        f"{refused:,} orders were refused ({codes}) and {len(case.result.fills):,} filled: this is not the strategy "
        "you "
        "meant.",
        "Fit the quantity to limits and instrument, or the limits to the strategy.",
        refused / orders,
    )


def _bars_of(case: Case, fills: Sequence[Mapping[str, Any]]) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """The bar that each fill happened in: the one that opens then, or whose close tells of it.

    On bars a resting order is seen to have filled when its bar is over; market orders fill at a close under
    ``bar_close``, else at an open.
    """
    assert case.main is not None
    config, series = case.result.config, case.main
    timing = FillTiming.BAR_CLOSE if config is None else config.fill_timing
    times = np.array([fill["ts_fill_ns"] for fill in fills], dtype=np.int64)
    rested = np.array([fill["liquidity"] == "maker" for fill in fills], dtype=np.bool_)
    closing = rested & (timing is not FillTiming.NEXT_TRADE) | (timing is FillTiming.BAR_CLOSE)
    ended = np.searchsorted(series.ts_close, times, side="left")
    begun = np.searchsorted(series.ts_open, times, side="right") - 1
    return np.clip(np.where(closing, ended, begun), 0, len(series) - 1)
