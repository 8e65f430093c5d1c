"""The tolerance of comparisons: two numbers that only rounding parts are equal to a strategy.

Prices are decimals, floats are not: averages that are equal in exact arithmetic differ in their last digits by how
they were added up, and an order must not depend on that.
"""

from __future__ import annotations

from typing import Final

ROUNDING: Final = 1e-12
"""Relative. Means over up to 2,000 prices, by running sums or not, are within it; a real difference is larger as long
as the window's sum has fewer than 10^12 ticks."""
