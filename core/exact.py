"""Sums that are the same on every machine and under every Python.

The builtin ``sum`` adds floats with compensation since Python 3.12 and without it before, so that the same input
gives other bytes. Code whose numbers are recorded or compared says which sum it means.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal


def ordered_sum(values: Iterable[float]) -> float:
    """The sum of floats, added from the first to the last with a rounding after each; 0.0 for none.

    Python 3.11's ``sum`` gives the same, which keeps recorded results valid. ``math.fsum`` is the other choice that
    is equal everywhere: exact before one rounding, several times slower.
    """
    total = 0.0
    for value in values:
        total += value
    return total


def integer_sum(values: Iterable[int]) -> int:
    """The sum of integers. The type checker holds floats off."""
    return sum(values)  # ambient: integers, by the type of the argument


def decimal_sum(values: Iterable[Decimal]) -> Decimal:
    """The sum of decimals in the current context; 0 for none."""
    return sum(values, Decimal(0))
