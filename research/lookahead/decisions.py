"""Decisions as the look-ahead detectors compare them: an action at a time in a symbol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isclose, isnan, nan
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Key = tuple[int, str]
Groups = Mapping[Key, tuple["Decision", ...]]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Decision:
    """An action that a strategy decided on.

    Attributes:
        ts_ns: when, UTC epoch ns: the time at which the data it answers was known.
        symbol: of what.
        action: what to do, in words such as ``buy market``.
        amounts: its quantity, price and whatever else is a number.
        target: the position that it leads to, where that is known; the warm-up detector compares it.
    """

    ts_ns: int
    symbol: str
    action: str
    amounts: tuple[float, ...] = ()
    target: float = nan

    def __str__(self) -> str:
        return " ".join([self.action, *(f"{amount:g}" for amount in self.amounts)])


def grouped(decisions: Iterable[Decision]) -> Groups:
    """By time and symbol, in the order given."""
    groups: dict[Key, list[Decision]] = {}
    for decision in decisions:
        groups.setdefault((decision.ts_ns, decision.symbol), []).append(decision)
    return {key: tuple(groups[key]) for key in sorted(groups)}


def differing(first: Groups, second: Groups, until_ns: int, tolerance: float) -> list[Key]:
    """Times and symbols up to a time at which the two did not decide the same, in order."""
    keys = sorted({key for groups in (first, second) for key in groups if key[0] <= until_ns})
    return [key for key in keys if not alike(first.get(key, ()), second.get(key, ()), tolerance)]


def alike(first: tuple[Decision, ...], second: tuple[Decision, ...], tolerance: float) -> bool:
    """True for the same decisions, numbers compared with a relative tolerance."""
    return len(first) == len(second) and all(
        a.action == b.action
        and len(a.amounts) == len(b.amounts)
        and all(same(x, y, tolerance) for x, y in zip(a.amounts, b.amounts, strict=True))
        for a, b in zip(first, second, strict=True)
    )


def same(x: float, y: float, tolerance: float) -> bool:
    """Equal up to a relative tolerance; two NaN are equal."""
    return x == y or isclose(x, y, rel_tol=tolerance, abs_tol=tolerance * 1e-3) or (isnan(x) and isnan(y))


def shown(decisions: tuple[Decision, ...]) -> str:
    """The decisions as text."""
    return ", then ".join(map(str, decisions)) or "nothing"


def when(ts_ns: int) -> str:
    """``2022-01-01 00:01:00``, UTC."""
    return (_EPOCH + timedelta(microseconds=ts_ns // 1_000)).strftime("%Y-%m-%d %H:%M:%S")
