"""The causes of a difference between the same intent of two runs, by class.

The first class that applies explains the rest: an intent that was decided differently also fills differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from backtest.parity.align import Pair
from backtest.parity.event_log import IntentHistory
from core.clock import NS_PER_MS
from core.contracts import FillEvent, RiskDecision

_SHAPE: Final = ("side", "type", "qty", "limit_price")
_RATE_STEP: Final = Decimal("1E-6")  # fees are rounded, so a rate is only known to about this
_NOTHING: Final = "—"


class Kind(StrEnum):
    """Classes of differences, in the order in which they explain each other."""

    SIGNAL = "signal"
    DECISION = "decision"
    TIMING = "timing"
    FILL = "fill"
    FEE = "fee"


@dataclass(frozen=True, slots=True)
class Cause:
    """One difference: its ``subject``, its text in either run, and the numbers behind it that differ."""

    kind: Kind
    subject: str
    a: str
    b: str
    detail: str = ""


def causes(pair: Pair, *, complete: bool) -> Iterator[Cause]:
    """The differences in a pair; none when both are the same. ``complete``: both runs record denials and cancels."""
    a, b = pair.a, pair.b
    if a is None or b is None:
        yield Cause(Kind.SIGNAL, "intent", *(_NOTHING if history is None else asked(history) for history in (a, b)))
        return
    first = _asked_otherwise(a, b) or _decision(a, b) or (_canceled_alone(a, b) if complete else None)
    first = first or _timing(a, b, overtaken=pair.overtaken, complete=complete)
    if first is not None:
        yield first
        return
    yield from _filled(a.fills, b.fills)
    if complete and _end(a) != _end(b):
        yield Cause(Kind.FILL, "end", _end(a), _end(b))


def caps_apart(pair: Pair) -> list[str]:
    """The caps that two decisions were taken on where they differ: ``per_order_usd_cap 5000 → 1000``."""
    if pair.a is None or pair.b is None or pair.a.decision is None or pair.b.decision is None:
        return []
    return [f"{name} {x} → {y}" for name, x, y in _differences(pair.a.decision.caps, pair.b.decision.caps)]


def fee_rate(fills: list[FillEvent]) -> Decimal | None:
    """The fees as a fraction of the notional; None without fills."""
    notional = sum((exact(fill.qty) * exact(fill.price) for fill in fills), Decimal(0))
    return (sum((exact(fill.fee) for fill in fills), Decimal(0)) / notional).quantize(_RATE_STEP) if notional else None


def exact(value: float) -> Decimal:
    """The decimal that a float is written as."""
    return Decimal(repr(float(value)))


def asked(history: IntentHistory) -> str:
    """``buy 0.03 market``, ``sell 0.8 @ 2410.5``."""
    intent = history.intent
    price = "market" if intent.limit_price is None or intent.type == "market" else f"@ {number(intent.limit_price)}"
    return f"{intent.side} {number(intent.qty)} {price}"


def number(value: float) -> str:
    """A float without an exponent or a needless ``.0``."""
    text = f"{exact(value):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _asked_otherwise(a: IntentHistory, b: IntentHistory) -> Cause | None:
    if all(getattr(a.intent, name) == getattr(b.intent, name) for name in _SHAPE):
        return None
    return Cause(Kind.SIGNAL, "intent", asked(a), asked(b))


def _canceled_alone(a: IntentHistory, b: IntentHistory) -> Cause | None:
    """A cancel in one run only, unless other fills led to it: the order that was taken back did no more until then."""
    if (a.cancel is None) == (b.cancel is None):
        return None
    ended, went_on = (_terms(a.fills), _terms(b.fills))
    if a.cancel is None:
        ended, went_on = went_on, ended
    if ended != went_on[: len(ended)]:
        return None
    return Cause(Kind.SIGNAL, "cancel", *("canceled" if history.cancel else _NOTHING for history in (a, b)))


def _decision(a: IntentHistory, b: IntentHistory) -> Cause | None:
    if a.allowed == b.allowed and _code(a.decision) == _code(b.decision):
        return None
    return Cause(Kind.DECISION, "decision", _verdict(a), _verdict(b), _different_numbers(a.decision, b.decision))


def _timing(a: IntentHistory, b: IntentHistory, *, overtaken: bool, complete: bool) -> Cause | None:
    moments = []
    if complete:
        moments.append(("asked", a.asked_ns, b.asked_ns))
    elif a.order is not None and b.order is not None:  # a result keeps orders, and not when they were asked for
        moments.append(("ordered", a.order.ts_accepted_ns, b.order.ts_accepted_ns))
    if a.decision is not None and b.decision is not None:
        moments.append(("decided", a.decision.ts_decided_ns, b.decision.ts_decided_ns))
    if a.arrived_ns and b.arrived_ns:
        moments.append(("at the venue", a.arrived_ns, b.arrived_ns))
    if complete and a.cancel is not None and b.cancel is not None:
        moments.append(("canceled", a.cancel.ts_requested_ns, b.cancel.ts_requested_ns))
    if _terms(a.fills) == _terms(b.fills):
        moments += [("filled", x.ts_fill_ns, y.ts_fill_ns) for x, y in zip(a.fills, b.fills, strict=True)]
    for subject, ours, theirs in moments:
        if ours != theirs:
            return Cause(Kind.TIMING, subject, "0 ms", f"{(theirs - ours) / NS_PER_MS:+,.3f} ms", _other_fills(a, b))
    return Cause(Kind.TIMING, "order", "after another", "before it") if overtaken else None


def _other_fills(a: IntentHistory, b: IntentHistory) -> str:
    """The fills of either time: ``filled 0.06 @ 61851.96 taker → 0.06 @ 61837.1 in 19 taker``."""
    return "" if _terms(a.fills) == _terms(b.fills) else f"filled {_in_words(a.fills)} → {_in_words(b.fills)}"


def _filled(a: list[FillEvent], b: list[FillEvent]) -> Iterator[Cause]:
    rates = fee_rate(a), fee_rate(b)
    dearer = _terms(a) == _terms(b) and [f.fee for f in a] != [f.fee for f in b]
    if _terms(a) != _terms(b):
        yield Cause(Kind.FILL, _which(a, b), _in_words(a), _in_words(b))
    if dearer or (None not in rates and rates[0] != rates[1] and _liquidity(a) == _liquidity(b)):
        yield Cause(Kind.FEE, "fee", *(_fees(fills) for fills in (a, b)))


def _terms(fills: list[FillEvent]) -> list[tuple[float, float, str]]:
    return [(fill.price, fill.qty, fill.liquidity) for fill in fills]


def _liquidity(fills: list[FillEvent]) -> set[str]:
    return {fill.liquidity for fill in fills}


def _which(a: list[FillEvent], b: list[FillEvent]) -> str:
    if len(a) != len(b):
        return "number of fills"
    for name in ("price", "qty", "liquidity"):
        if any(getattr(x, name) != getattr(y, name) for x, y in zip(a, b, strict=True)):
            return {"qty": "quantity"}.get(name, name)
    raise AssertionError("equal fills were called different")


def _in_words(fills: list[FillEvent]) -> str:
    if not fills:
        return _NOTHING
    qty = sum((exact(fill.qty) for fill in fills), Decimal(0))
    average = sum((exact(fill.qty) * exact(fill.price) for fill in fills), Decimal(0)) / qty
    count = f" in {len(fills)}" if len(fills) > 1 else ""
    makers = " ".join(sorted(_liquidity(fills)))
    return f"{number(float(qty))} @ {number(round(float(average), 6))}{count} {makers}"


def _fees(fills: list[FillEvent]) -> str:
    rate = fee_rate(fills)
    total = sum((exact(fill.fee) for fill in fills), Decimal(0))
    return f"{total:.4f}" + (f" ({number(float(rate * 10_000))} bps)" if rate is not None else "")


def _end(history: IntentHistory) -> str:
    return history.ended.status if history.ended is not None else "open" if history.order is not None else _NOTHING


def _verdict(history: IntentHistory) -> str:
    decision = history.decision
    if history.allowed:
        return "allowed"
    return "undecided" if decision is None else decision.reason


def _code(decision: RiskDecision | None) -> str:
    return "" if decision is None else str(decision.code or decision.reason)


def _different_numbers(a: RiskDecision | None, b: RiskDecision | None) -> str:
    """Caps and inputs that a decision was taken on, where they differ: ``per_order_usd_cap 5000 → 1000``."""
    if a is None or b is None:
        return ""
    numbers = [*_differences(a.caps, b.caps), *_differences(a.inputs, b.inputs)]
    return ", ".join(f"{name} {x} → {y}" for name, x, y in numbers)


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name in sorted(a.keys() | b.keys()):
        x, y = a.get(name), b.get(name)
        if x != y:
            yield name, _shown(x), _shown(y)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return number(round(value, 6))
    return _NOTHING if value is None else str(value)
