"""The comparison of two runs: every difference classified, and the difference in money split by class.

A session with its replay, a session with a backtest, a backtest with another: ``compare`` takes any two event logs.
Runs without a difference had the same intents, decisions and fills at the same times, and the same profit and loss to
the last decimal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any, Final

from backtest.parity import money
from backtest.parity.align import TOLERANCE_NS, Pair, aligned
from backtest.parity.causes import Cause, Kind, caps_apart, causes
from backtest.parity.event_log import EventLog, event_log_of, read_event_log, result_event_log, session_event_log
from backtest.parity.money import MARK, PARTS

__all__ = [
    "MARK",
    "PARTS",
    "Comparison",
    "Difference",
    "EventLog",
    "Kind",
    "Volume",
    "compare",
    "event_log_of",
    "read_event_log",
    "result_event_log",
    "session_event_log",
]

_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference. ``pnl`` is what it makes of the second run's profit and loss, in ``currency``;
    ``detail`` names the numbers behind a decision that differ, or what another time made of the fills."""

    kind: Kind
    ts_ns: int
    strategy_id: str
    symbol: str
    intent_id: str
    subject: str
    a: str
    b: str
    pnl: Decimal = Decimal(0)
    currency: str = ""
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, money as text."""
        return {
            "kind": self.kind.value,
            "ts_ns": self.ts_ns,
            "strategy_id": self.strategy_id,
            "symbol": self.symbol,
            "intent_id": self.intent_id,
            "what": self.subject,
            "a": self.a,
            "b": self.b,
            "pnl": str(self.pnl),
            "currency": self.currency,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Volume:
    """The size of a run: counts of intents, decisions and fills."""

    intents: int
    allowed: int
    denied: int
    fills: int

    @classmethod
    def of(cls, event_log: EventLog) -> Volume:
        """Count it."""
        allowed = sum(history.allowed for history in event_log.histories)
        return cls(len(event_log.histories), allowed, event_log.denied, sum(1 for _ in event_log.fills))


@dataclass(frozen=True)
class Comparison:
    """The result of ``compare``.

    Attributes:
        a: the first run's name; ``b`` the second's.
        differences: by time; the later ones may follow from the earlier.
        pnl_a: profit and loss of the first run by currency; ``pnl_b`` of the second.
        parts: by currency, the share of each class (and ``mark-to-market``) in ``pnl_b - pnl_a``; they sum to it.
        remarks: caveats about the runs.
    """

    a: str
    b: str
    volume_a: Volume
    volume_b: Volume
    differences: tuple[Difference, ...]
    pnl_a: Mapping[str, Decimal]
    pnl_b: Mapping[str, Decimal]
    parts: Mapping[str, Mapping[str, Decimal]]
    remarks: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences and self.pnl_a == self.pnl_b

    @property
    def counts(self) -> dict[str, int]:
        """Differences by class."""
        counts = Counter(difference.kind for difference in self.differences)
        return {kind.value: counts[kind] for kind in Kind}

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; money as text, to its last decimal."""
        return {
            "equal": self.equal,
            "runs": [
                {
                    "name": name,
                    "intents": volume.intents,
                    "allowed": volume.allowed,
                    "denied": volume.denied,
                    "fills": volume.fills,
                    "pnl": _texts(pnl),
                }
                for name, volume, pnl in ((self.a, self.volume_a, self.pnl_a), (self.b, self.volume_b, self.pnl_b))
            ],
            "counts": self.counts,
            "pnl_difference": {currency: _texts(parts) for currency, parts in self.parts.items()},
            "differences": [difference.to_dict() for difference in self.differences],
            "remarks": list(self.remarks),
        }


def compare(a: EventLog, b: EventLog, *, tolerance_ns: int = TOLERANCE_NS) -> Comparison:
    """Compare the second run with the first.

    Args:
        a: the first run, usually what was recorded.
        b: the second one.
        tolerance_ns: how far apart in time an intent of the same strategy, symbol and side may lie in the two runs and
            still be the same one, where ids do not tell.
    """
    complete = a.complete and b.complete
    with localcontext() as context:
        context.prec = money.PRECISION
        reference, marks_a, marks_b = money.marks_of(a, b)
        differences: list[Difference] = []
        other_caps: Counter[str] = Counter()
        shares: list[Mapping[tuple[str, str], Decimal]] = []
        for pair in aligned(a.histories, b.histories, tolerance_ns):
            if not complete and _denied_alone(pair):
                continue
            pair_causes = list(causes(pair, complete=complete))
            other_caps.update(() if pair_causes else caps_apart(pair))
            parts = money.parts_of(pair, pair_causes, reference)
            currency = money.quote_of(_symbol(pair))
            shares.append({(currency, kind): amount for kind, amount in parts.items()})
            differences += _differences(pair, pair_causes, parts, currency)
        if not complete and a.denied != b.denied:
            differences.append(_other_denials(a, b))
        market = money.market_part(a, b, reference, marks_a, marks_b)
        shares.append({(currency, MARK): amount for currency, amount in market.items()})
        pnl_a, pnl_b = money.profit(a, marks_a), money.profit(b, marks_b)
        remarks = [
            *_remarks(a, pnl_a),
            *_remarks(b, pnl_b),
            *_other_end(a, b, marks_a, marks_b),
            *(
                f"{count:,} decision{'s' * (count > 1)} came out alike on another cap: {cap}"
                for cap, count in other_caps.items()
            ),
        ]
        return Comparison(
            a=a.name,
            b=b.name,
            volume_a=Volume.of(a),
            volume_b=Volume.of(b),
            differences=tuple(differences),
            pnl_a=pnl_a,
            pnl_b=pnl_b,
            parts=_by_currency(shares, pnl_a, pnl_b),
            remarks=tuple(remarks),
        )


def _differences(pair: Pair, pair_causes: list[Cause], parts: Mapping[str, Decimal], currency: str) -> list[Difference]:
    history = pair.a or pair.b
    assert history is not None
    intent, differences, counted = history.intent, [], set()
    for cause in pair_causes:
        pnl = Decimal(0) if cause.kind in counted else parts.get(cause.kind.value, Decimal(0))
        counted.add(cause.kind)
        differences.append(
            Difference(
                cause.kind,
                history.asked_ns,
                intent.strategy_id,
                intent.symbol,
                intent.intent_id,
                cause.subject,
                cause.a,
                cause.b,
                pnl,
                currency,
                cause.detail,
            )
        )
    return differences


def _denied_alone(pair: Pair) -> bool:
    """An intent that a result, which keeps no denied ones, may have had as well."""
    alone = pair.a if pair.b is None else pair.b if pair.a is None else None
    return alone is not None and not alone.allowed


def _other_denials(a: EventLog, b: EventLog) -> Difference:
    latest = max((history.asked_ns for history in (*a.histories, *b.histories)), default=0)
    return Difference(Kind.DECISION, latest, "", "", "", "denied intents", str(a.denied), str(b.denied))


def _symbol(pair: Pair) -> str:
    history = pair.a or pair.b
    assert history is not None
    return history.intent.symbol


def _by_currency(
    shares: list[Mapping[tuple[str, str], Decimal]], pnl_a: Mapping[str, Decimal], pnl_b: Mapping[str, Decimal]
) -> dict[str, dict[str, Decimal]]:
    """The shares as a table; they add up to the difference, or this comparison is wrong."""
    total: dict[tuple[str, str], Decimal] = {}
    for share in shares:
        for key, amount in share.items():
            total[key] = total.get(key, Decimal(0)) + amount
    table: dict[str, dict[str, Decimal]] = {}
    for currency in sorted(pnl_a.keys() | pnl_b.keys()):
        table[currency] = {part: total.get((currency, part), Decimal(0)) for part in PARTS}
        expected = pnl_b.get(currency, Decimal(0)) - pnl_a.get(currency, Decimal(0))
        got = sum(table[currency].values(), Decimal(0))
        assert got == expected, f"the parts of {currency} add up to {got}, the difference is {expected}"
    return table


def _remarks(event_log: EventLog, pnl: Mapping[str, Decimal]) -> list[str]:
    remarks = [f"{event_log.name}: {remark}" for remark in event_log.remarks]
    total = sum(pnl.values(), Decimal(0))
    if event_log.stated is not None and abs(event_log.stated - total) >= _CENT:
        remarks.append(
            f"{event_log.name}: it states a profit and loss of {event_log.stated:.2f}, its fills add up to {total:.2f}"
        )
    return remarks


def _other_end(a: EventLog, b: EventLog, marks_a: Mapping[str, Decimal], marks_b: Mapping[str, Decimal]) -> list[str]:
    held_a, held_b = money.positions(a), money.positions(b)
    return [
        f"{symbol} ends at {marks_a[symbol]:f} in {a.name} and at {marks_b[symbol]:f} in {b.name}"
        for symbol in sorted(held_a.keys() | held_b.keys())
        if marks_a[symbol] != marks_b[symbol] and (held_a.get(symbol) or held_b.get(symbol))
    ]


def _texts(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: f"{amount:f}" for name, amount in amounts.items()}
