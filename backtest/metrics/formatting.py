"""Figures as people read them: units, signs, thousands separators, days in UTC.

One place for the terminal summary, the report and the command line, so that a number looks the same everywhere.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from backtest.metrics.returns import DAY_NS, UNBOUNDED
from backtest.metrics.table import Metric, Sign, Unit
from core.clock import NS_PER_S

_DOLLARS: Final = ("USD", "USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI")
COINS: Final = ("BTC", "XBT", "ETH", "BNB")
"""Quote currencies whose unit is large: their amounts have eight decimals."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def quote_of(symbol: str) -> str:
    """The currency that a symbol's prices are in; empty for a name that is no pair."""
    return symbol.partition("/")[2].partition(":")[0]


def money(amount: float, quote: str, *, signed: bool = False) -> str:
    """``$10,000.00`` for dollars and their coins, ``0.12345678 BTC`` for currencies of large units, ``1.00 EUR``."""
    decimals = 8 if quote in COINS else 2
    size = f"{abs(amount):,.{decimals}f}"
    minus = amount < 0 and any(digit in size for digit in "123456789")
    sign = "-" if minus else ("+" if signed and amount > 0 else "")
    return f"{sign}${size}" if quote in _DOLLARS else f"{sign}{size} {quote}".rstrip()


def counted(count: int, singular: str) -> str:
    """``1 trade``, ``1,234 trades``."""
    return f"{count:,} {singular}" if count == 1 else f"{count:,} {singular}s"


def percent(value: float, *, signed: bool = False, decimals: int = 2) -> str:
    """``+24.50%`` of a value in percent; never a minus before zeros."""
    if abs(value) >= UNBOUNDED:
        return "∞" if value > 0 else "-∞"
    shown = f"{value:{'+' if signed else ''},.{decimals}f}%"
    return shown.lstrip("+-") if not any(digit in shown for digit in "123456789") else shown


def number(value: float, decimals: int = 2) -> str:
    """``1,234.50``; ``∞`` for what stands for infinity."""
    if abs(value) >= UNBOUNDED:
        return "∞" if value > 0 else "-∞"
    shown = f"{value:,.{decimals}f}"
    return shown.lstrip("-") if not any(digit in shown for digit in "123456789") else shown


def duration(seconds: float) -> str:
    """``45 min``, ``3.5 h``, ``12.0 days``: whichever unit is fit to read."""
    if seconds < 60:
        return f"{seconds:,.0f} s"
    if seconds < 3_600:
        return f"{seconds / 60:,.0f} min"
    if seconds < 2 * 86_400:
        return f"{seconds / 3_600:,.1f} h"
    return f"{seconds / 86_400:,.1f} days"


def show(metric: Metric, value: float, quote: str) -> str:
    """The value of a metric with its unit and sign."""
    signed, value = metric.sign is Sign.SHOWN, -value if metric.sign is Sign.NEGATED else value
    match metric.unit:
        case Unit.PERCENT:
            return percent(value, signed=signed)
        case Unit.FRACTION:
            return percent(100.0 * value, decimals=1)
        case Unit.MONEY:
            return money(value, quote, signed=signed)
        case Unit.DAYS:
            return duration(86_400.0 * value)
        case Unit.HOURS:
            return duration(3_600.0 * value)
        case Unit.SECONDS:
            return "1 day" if value == DAY_NS / 1e9 else duration(value)
        case Unit.COUNT | Unit.PER_YEAR:
            return number(value, 0)
        case Unit.RATIO:
            return number(value)


def moment(ts_ns: int) -> datetime:
    """The time in UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=ts_ns // 1_000)


def minute(ts_ns: int) -> str:
    """``2022-01-01 00:01``, UTC."""
    return moment(ts_ns).strftime("%Y-%m-%d %H:%M")


def instant(ts_ns: int) -> str:
    """``2022-01-01 00:01:59``, UTC, with the fraction of a second where there is one."""
    fraction = f"{ts_ns % NS_PER_S:09d}".rstrip("0")
    return moment(ts_ns).strftime("%Y-%m-%d %H:%M:%S") + (f".{fraction}" if fraction else "")


def period(start_ns: int, end_ns: int) -> tuple[str, str, int]:
    """First and last day in UTC and how many days they span, both counted; an end at midnight ends the day before."""
    first, last = moment(start_ns).date(), moment(max(end_ns - 1_000, start_ns)).date()
    return first.isoformat(), last.isoformat(), (last - first).days + 1
