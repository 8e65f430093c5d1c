"""Timeframes: the lengths that bars have, by name, and the windows of such a length on the wall clock.

The names are those of the venues: ``1m``, ``15m``, ``4h``, ``1d``, ``1w``. All windows are UTC.
"""

from __future__ import annotations

import re
from typing import Final

from core.clock import NS_PER_DAY, NS_PER_MINUTE, NS_PER_S
from core.errors import ConfigError

TIMEFRAMES: Final = ("1m", "5m", "15m", "1h")

_NS_PER_WEEK: Final = 7 * NS_PER_DAY
_FIRST_MONDAY_NS: Final = 4 * NS_PER_DAY  # 1970-01-05
_UNIT_NS: Final = {
    "s": NS_PER_S, "m": NS_PER_MINUTE, "h": 60 * NS_PER_MINUTE, "d": NS_PER_DAY, "w": _NS_PER_WEEK,
}  # fmt: skip
_TIMEFRAME: Final = re.compile(r"([1-9]\d*)([smhdw])")


def timeframe_ns(timeframe: str) -> int:
    """The length of a timeframe such as ``1m``, ``4h``, ``1d`` or ``1w`` in nanoseconds.

    Raises:
        ConfigError: not ``<n><s|m|h|d|w>``.
    """
    match = _TIMEFRAME.fullmatch(timeframe)
    if match is None:
        raise ConfigError(f"timeframe: expected <n><s|m|h|d|w> such as 1m, 15m or 4h, got {timeframe!r}")
    return int(match[1]) * _UNIT_NS[match[2]]


def bar_timeframe_ns(timeframe: str) -> int:
    """The length of a timeframe that bars can have: whole minutes that divide a day, or whole days.

    Raises:
        ConfigError: windows of that length do not start on the wall clock's boundaries.
    """
    length = timeframe_ns(timeframe)
    if length % NS_PER_MINUTE or (NS_PER_DAY % length and length % NS_PER_DAY):
        raise ConfigError(f"timeframe: expected whole minutes that divide a day, or whole days, got {timeframe!r}")
    return length


def window_start(ts_ns: int, length_ns: int) -> int:
    """The start of the window of a length that a time lies in, UTC epoch nanoseconds.

    Weeks start on Mondays, as venues and charts have them; other windows are counted from 1970-01-01.
    """
    anchor = _FIRST_MONDAY_NS if length_ns % _NS_PER_WEEK == 0 else 0
    return ts_ns - (ts_ns - anchor) % length_ns
