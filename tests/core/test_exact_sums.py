"""A sum of floats is the same under every Python, and says in which order it was added."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from core.exact import decimal_sum, integer_sum, ordered_sum


def test_floats_are_added_from_the_first_to_the_last_without_compensation() -> None:
    # sum() gives 0.9999999999999999 up to Python 3.11 and 1.0 from 3.12 on.
    assert ordered_sum([0.1] * 10) == 0.9999999999999999
    assert ordered_sum([1e16, 1.0, -1e16]) == 0.0
    assert ordered_sum([]) == 0.0


@given(st.lists(st.floats(-1e12, 1e12), max_size=50))
def test_an_ordered_sum_is_within_one_rounding_per_addition_of_the_exact_one(values: list[float]) -> None:
    exact = sum(map(Fraction, values), Fraction(0))
    bound = len(values) * 2.0**-53 * float(sum((abs(Fraction(value)) for value in values), Fraction(0)))

    assert abs(Fraction(ordered_sum(values)) - exact) <= Fraction(bound) * 2


def test_integers_and_decimals_are_added_exactly() -> None:
    assert integer_sum([2**70, 1, -(2**70)]) == 1
    assert decimal_sum([Decimal("0.1")] * 10) == Decimal(1)
    assert decimal_sum([]) == Decimal(0)
