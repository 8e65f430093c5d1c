"""Two runs held against each other: every difference classified, and the difference in money split by class.

A session against its replay, a session against a backtest, a backtest against another: ``compare`` takes any two
trails. When it finds nothing, both had the same intents, decisions and fills at the same times, and the same profit and
loss to the last decimal.
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
from backtest.parity.money import MARK, PARTS
from backtest.parity.trail import Trail, read_trail, trail_of, trail_of_result, trail_of_session

__all__ = [
    "MARK",
    "PARTS",
    "Comparison",
    "Difference",
    "Kind",
    "Trail",
    "Volume",
    "compare",
    "read_trail",
    "trail_of",
    "trail_of_result",
    "trail_of_session",
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
    what: str
    a: str
    b: str
    pnl: Decimal = Decimal(0)
    currency: str = ""
    detail: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, money as text."""
        return {name: str(getattr(self, name)) if name in ("kind", "pnl") else getattr(self, name) for name in _FIELDS}


_FIELDS: Final = (
    "kind", "ts_ns", "strategy_id", "symbol", "intent_id", "what", "a", "b", "pnl", "currency", "detail",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Volume:
    """How much of a run there was to compare."""

    intents: int
    allowed: int
    denied: int
    fills: int

    @classmethod
    def of(cls, trail: Trail) -> Volume:
        """Count it."""
        allowed = sum(story.allowed for story in trail.stories)
        return cls(len(trail.stories), allowed, trail.denied, sum(1 for _ in trail.fills))


@dataclass(frozen=True)
class Comparison:
    """What came of ``compare``.

    Attributes:
        a: the first run's name; ``b`` the second's.
        differences: by time; the later ones may follow from the earlier.
        pnl_a: profit and loss of the first run by currency; ``pnl_b`` of the second.
        parts: by currency, what each class (and ``mark-to-market``) makes of ``pnl_b - pnl_a``; they sum to it exactly.
        remarks: what a reader has to know about the runs.
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
        found = Counter(each.kind for each in self.differences)
        return {kind.value: found[kind] for kind in Kind}

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
                    "pnl": _plain(pnl),
                }
                for name, volume, pnl in ((self.a, self.volume_a, self.pnl_a), (self.b, self.volume_b, self.pnl_b))
            ],
            "counts": self.counts,
            "pnl_difference": {currency: _plain(parts) for currency, parts in self.parts.items()},
            "differences": [each.to_dict() for each in self.differences],
            "remarks": list(self.remarks),
        }


def compare(a: Trail, b: Trail, *, tolerance_ns: int = TOLERANCE_NS) -> Comparison:
    """Hold the second run against the first.

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
        for pair in aligned(a.stories, b.stories, tolerance_ns):
            if not complete and _denied_alone(pair):
                continue
            found = list(causes(pair, complete=complete))
            other_caps.update(() if found else caps_apart(pair))
            parts = money.parts_of(pair, found, reference)
            currency = money.quote_of(_symbol(pair))
            shares.append({(currency, kind): amount for kind, amount in parts.items()})
            differences += _told(pair, found, parts, currency)
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


def _told(pair: Pair, found: list[Cause], parts: Mapping[str, Decimal], currency: str) -> list[Difference]:
    story = pair.a or pair.b
    assert story is not None
    intent, told, counted = story.intent, [], set()
    for cause in found:
        pnl = Decimal(0) if cause.kind in counted else parts.get(cause.kind.value, Decimal(0))
        counted.add(cause.kind)
        told.append(
            Difference(
                cause.kind,
                story.asked_ns,
                intent.strategy_id,
                intent.symbol,
                intent.intent_id,
                cause.what,
                cause.a,
                cause.b,
                pnl,
                currency,
                cause.detail,
            )
        )
    return told


def _denied_alone(pair: Pair) -> bool:
    """An intent that a result, which keeps no denied ones, may have had as well."""
    alone = pair.a if pair.b is None else pair.b if pair.a is None else None
    return alone is not None and not alone.allowed


def _other_denials(a: Trail, b: Trail) -> Difference:
    latest = max((story.asked_ns for story in (*a.stories, *b.stories)), default=0)
    return Difference(Kind.DECISION, latest, "", "", "", "denied intents", str(a.denied), str(b.denied))


def _symbol(pair: Pair) -> str:
    story = pair.a or pair.b
    assert story is not None
    return story.intent.symbol


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


def _remarks(trail: Trail, pnl: Mapping[str, Decimal]) -> list[str]:
    said = [f"{trail.name}: {remark}" for remark in trail.remarks]
    total = sum(pnl.values(), Decimal(0))
    if trail.stated is not None and abs(trail.stated - total) >= _CENT:
        said.append(f"{trail.name}: it states a profit and loss of {trail.stated:.2f}, its fills add up to {total:.2f}")
    return said


def _other_end(a: Trail, b: Trail, marks_a: Mapping[str, Decimal], marks_b: Mapping[str, Decimal]) -> list[str]:
    held_a, held_b = money.positions(a), money.positions(b)
    return [
        f"{symbol} ends at {marks_a[symbol]:f} in {a.name} and at {marks_b[symbol]:f} in {b.name}"
        for symbol in sorted(held_a.keys() | held_b.keys())
        if marks_a[symbol] != marks_b[symbol] and (held_a.get(symbol) or held_b.get(symbol))
    ]


def _plain(amounts: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: f"{amount:f}" for name, amount in amounts.items()}
