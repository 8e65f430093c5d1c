"""The compiled account: fills, fees, slippage and round trips of one parameter set, in exact 64-bit integers.

It restates the rules of ``execution`` (``Slippage``, ``FeeSchedule``) and of ``backtest.engine.round_trips`` for numba,
see ADR 0021; a property test holds them equal. Amounts are in units of the run's ``Rules``.
"""

from __future__ import annotations

from math import sqrt
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from strategies.kernel_cache import kernel_function, rare_function

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]
Fills = npt.NDArray[np.void]
Account = Any  # a record of ACCOUNT
OpenLots = Any  # a record of OPEN_LOTS

FIXED, RANGE, VOLUME_SHARE = range(3)  # models of slippage, see execution.slippage
FINE, TOO_LARGE, TOO_MANY_LOTS = range(3)  # states of an account
MOST_OPEN_LOTS: Final = 256
SAFE: Final = 1 << 60  # no amount of an account passes it, so that no sum of four wraps
_PPM: Final = 1_000_000


def _integers(*names: str) -> list[tuple[str, type[np.int64]]]:
    return [(name, np.int64) for name in names]


ACCOUNT: Final = np.dtype(
    _integers(
        "position", "traded", "fees", "fills", "status",  # lots; lots times ticks received; fee units
        "trips", "wins", "profit", "loss", "since_ns", "time_ns",  # since when it has a position, how long it had one
        "first", "queued",  # of the open lots: the place of the oldest, how many there are
    )
)  # fmt: skip
OPEN_LOTS: Final = np.dtype([(name, np.int64, (MOST_OPEN_LOTS,)) for name in ("ticks", "lots", "fee")])
"""The lots still to be closed, first in, first out: a ring. ``fee`` is the share of the opening fee that is theirs."""
FILL: Final = np.dtype(_integers("bar", "ts_ns", "signed_lots", "price_ticks", "fee_units"))


class Rules(NamedTuple):
    """Costs, timing and capital of a run, in integers.

    ``per_money`` units are one lot times one tick, ``per_fee`` one ``FEE_UNIT``; ``scale`` units are one of quote
    currency. ``min_notional`` is in lots times ticks. ``most_*`` are the bounds within which nothing overflows.
    """

    next_open: int  # 1: orders fill at the open of the next bar; 0: at the close of their own
    slippage: int
    slippage_ppm: int
    fee_numerator: int
    fee_denominator: int
    per_money: int
    per_fee: int
    capital: int
    lots: int  # of an exposure of 1
    long_only: int
    min_notional: int
    max_lots: int
    most_traded: int
    most_fees: int
    scale: float


@rare_function
def trade(account: Account, open_lots: OpenLots, rules: Rules, lots: int, price: int, ts_ns: int) -> int:
    """Fill signed lots at a price in ticks, closing round trips. Returns the fee."""
    size = abs(lots)
    fee = fee_on(size * price, rules.fee_numerator, rules.fee_denominator)
    position = account.position
    if position == 0:
        account.since_ns = ts_ns
    elif position + lots == 0:
        account.time_ns += ts_ns - account.since_ns
    _match(account, open_lots, rules, size, 1 if lots > 0 else -1, price, fee)
    account.position = position + lots
    account.traded -= lots * price
    account.fees += fee
    account.fills += 1
    if abs(account.traded) > rules.most_traded or abs(account.fees) > rules.most_fees:
        account.status = TOO_LARGE
    return fee


@kernel_function
def _match(
    account: Account, open_lots: OpenLots, rules: Rules, size: int, direction: int, price: int, fee: int
) -> None:
    """As ``round_trips``: closes the open lots of the other direction, oldest first, each a trip; queues the rest."""
    position, remaining = account.position, size
    while remaining and position * direction < 0:
        oldest = account.first
        lots = min(remaining, open_lots.lots[oldest])
        paid = share(fee, lots, remaining)
        opening = share(open_lots.fee[oldest], lots, open_lots.lots[oldest])
        moved = direction * lots * (open_lots.ticks[oldest] - price)
        _book_trip(account, rules.per_money * moved - rules.per_fee * (paid + opening))
        if account.status:
            return
        remaining, fee, position = remaining - lots, fee - paid, position + direction * lots
        open_lots.lots[oldest] -= lots
        open_lots.fee[oldest] -= opening
        if open_lots.lots[oldest] == 0:
            account.first = (oldest + 1) % MOST_OPEN_LOTS
            account.queued -= 1
    if remaining == 0:
        return
    if account.queued == MOST_OPEN_LOTS:
        account.status = TOO_MANY_LOTS
        return
    newest = (account.first + account.queued) % MOST_OPEN_LOTS
    open_lots.ticks[newest], open_lots.lots[newest], open_lots.fee[newest] = price, remaining, fee
    account.queued += 1


@kernel_function
def _book_trip(account: Account, result: int) -> None:
    """Count a round trip with its result after fees."""
    account.trips += 1
    if result > 0:
        account.wins += 1
        account.profit += result
    else:
        account.loss -= result
    if account.profit > SAFE or account.loss > SAFE:
        account.status = TOO_LARGE


@rare_function
def share(amount: int, lots: int, of: int) -> int:
    """``amount * lots // of`` for ``0 < lots <= of``, exactly, also where the product does not fit in 64 bits."""
    if lots == of:
        return amount
    quotient, rest = amount // of, amount % of
    if rest <= SAFE // lots:
        return quotient * lots + rest * lots // of
    ratio = remainder = 0
    for bit in range(60, -1, -1):  # long multiplication and division at once
        ratio, remainder = 2 * ratio, 2 * remainder + (rest if lots >> bit & 1 else 0)
        ratio, remainder = ratio + remainder // of, remainder % of
    return quotient * lots + ratio


@kernel_function
def slipped(rules: Rules, high: int, low: int, volume: int, lots: int, at: int) -> int:
    """The price of a fill at ``at``, as ``Slippage.moved``; range and volume are of the latest bar known in full."""
    ppm = rules.slippage_ppm
    if ppm == 0:
        return at
    if rules.slippage == RANGE:
        by = -(-(high - low) * ppm // _PPM)
        return at + by if lots > 0 else max(1, at - by)
    if rules.slippage == VOLUME_SHARE:
        ppm = volume_share_ppm(ppm, abs(lots), max(1, volume))
    if lots > 0:
        return -(-at * (_PPM + ppm) // _PPM)
    return max(1, at * (_PPM - ppm) // _PPM)


@kernel_function
def volume_share_ppm(ppm: int, lots: int, volume: int) -> int:
    """``ppm`` times the square root of the share of the bar's volume, at most everything."""
    times, rest = lots // volume, lots % volume
    if times > _PPM * _PPM // (ppm * ppm):
        return _PPM
    return min(_PPM, root(ppm * ppm * times + (share(ppm * ppm, rest, volume) if rest else 0)))


@kernel_function
def root(square: int) -> int:
    """As ``math.isqrt``."""
    estimate = int(sqrt(square))
    while estimate * estimate > square:
        estimate -= 1
    while (estimate + 1) * (estimate + 1) <= square:
        estimate += 1
    return estimate


@kernel_function
def fee_on(notional: int, numerator: int, denominator: int) -> int:
    """As ``FeeSchedule.units``: halves away from zero."""
    amount = notional * numerator
    rounded = (2 * abs(amount) + denominator) // (2 * denominator)
    return rounded if amount >= 0 else -rounded
