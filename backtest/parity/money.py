"""The attribution of a difference in profit and loss: exact decimals whose parts add up to the total.

An intent is worth the cash that its fills moved plus the position they left, at the price of the symbol's last fill.
So each pair's difference belongs to the class that explains it. The change of differing positions after that last fill
is the part called mark-to-market.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from backtest.parity.align import Pair
from backtest.parity.causes import Cause, Kind, exact, fee_rate
from backtest.parity.event_log import EventLog, IntentHistory
from core.position_ledger import FEE_UNIT

MARK: Final = "mark-to-market"
PARTS: Final = (*(kind.value for kind in Kind), MARK)
PRECISION: Final = 60  # digits: more than any sum here has, so that nothing is ever rounded
Money = dict[str, Decimal]  # by currency


def quote_of(symbol: str) -> str:
    """The currency that a symbol's prices are in: USDT of BTC/USDT."""
    return symbol.partition("/")[2].partition(":")[0] or symbol


def marks_of(a: EventLog, b: EventLog) -> tuple[Mapping[str, Decimal], Mapping[str, Decimal], Mapping[str, Decimal]]:
    """By symbol: the price of the last fill of either run, and the marks of each. A run that has none counts at that of
    the other, or at the last fill."""
    last = {fill.symbol: fill for fill in sorted([*a.fills, *b.fills], key=lambda fill: fill.ts_fill_ns)}
    reference = {symbol: exact(fill.price) for symbol, fill in last.items()}
    return reference, {**reference, **b.marks, **a.marks}, {**reference, **a.marks, **b.marks}


def profit(event_log: EventLog, marks: Mapping[str, Decimal]) -> Money:
    """Profit and loss after fees by currency, open positions at the marks."""
    total: Money = defaultdict(Decimal)
    for fill in event_log.fills:
        signed = exact(fill.qty) if fill.side == "buy" else -exact(fill.qty)
        total[quote_of(fill.symbol)] += signed * (marks[fill.symbol] - exact(fill.price)) - exact(fill.fee)
    return dict(total)


def positions(event_log: EventLog) -> Money:
    """The position of each symbol, in base currency."""
    total: Money = defaultdict(Decimal)
    for fill in event_log.fills:
        total[fill.symbol] += exact(fill.qty) if fill.side == "buy" else -exact(fill.qty)
    return dict(total)


def parts_of(pair: Pair, causes: Sequence[Cause], reference: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """The pair's difference in worth, second run less first, by class."""
    fees_a, fees_b = _fees(pair.a), _fees(pair.b)
    total = (_gross(pair.b, reference) - fees_b) - (_gross(pair.a, reference) - fees_a)
    kinds = {cause.kind for cause in causes}
    if Kind.FEE not in kinds:
        kind = causes[0].kind.value if causes else Kind.FILL.value
        return {kind: total} if total else {}
    assert pair.a is not None
    assert pair.b is not None
    rate = fee_rate(pair.a.fills)
    expected = fees_a if Kind.FILL not in kinds or rate is None else (rate * _notional(pair.b)).quantize(FEE_UNIT)
    return {Kind.FILL.value: total + fees_b - expected, Kind.FEE.value: expected - fees_b}


def market_part(
    a: EventLog,
    b: EventLog,
    reference: Mapping[str, Decimal],
    marks_a: Mapping[str, Decimal],
    marks_b: Mapping[str, Decimal],
) -> Money:
    """The change of the final positions since the last fill of either run, second run less first, by currency."""
    total: Money = defaultdict(Decimal)
    for sign, event_log, marks in ((-1, a, marks_a), (1, b, marks_b)):
        for symbol, position in positions(event_log).items():
            total[quote_of(symbol)] += sign * position * (marks[symbol] - reference[symbol])
    return dict(total)


def added(moneys: Iterable[Mapping[str, Decimal]]) -> Money:
    """The sum by key."""
    total: Money = defaultdict(Decimal)
    for money in moneys:
        for key, amount in money.items():
            total[key] += amount
    return dict(total)


def _gross(history: IntentHistory | None, reference: Mapping[str, Decimal]) -> Decimal:
    total = Decimal(0)
    for fill in history.fills if history is not None else ():
        signed = exact(fill.qty) if fill.side == "buy" else -exact(fill.qty)
        total += signed * (reference[fill.symbol] - exact(fill.price))
    return total


def _fees(history: IntentHistory | None) -> Decimal:
    return sum((exact(fill.fee) for fill in history.fills), Decimal(0)) if history is not None else Decimal(0)


def _notional(history: IntentHistory) -> Decimal:
    return sum((exact(fill.qty) * exact(fill.price) for fill in history.fills), Decimal(0))
