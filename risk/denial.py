"""A denial: its code and the numbers that show why, in the words every log, journal and test reads."""

from __future__ import annotations

from typing import Final, NamedTuple

from core.contracts import DenialCode

HALTED_REASON: Final = "halted"  # the specification's word; the source stands in the decision's inputs

_DECIMALS: Final = 8  # enough to show any tick or lot size, few enough to hide float noise


class Denial(NamedTuple):
    """A refusal by a policy: the code and its numbers by name, in the order in which they are shown."""

    code: DenialCode
    numbers: dict[str, float | str]

    @property
    def reason(self) -> str:
        """The denial in words, such as ``PER_ORDER_CAP: notional=1250.00 cap=1000.00``."""
        if self.code is DenialCode.HALTED:
            return HALTED_REASON
        return f"{self.code.value}: " + " ".join(f"{name}={_shown(value)}" for name, value in self.numbers.items())


def _shown(value: float | str) -> str:
    """Words as they are, numbers with at least two decimals and without noise."""
    if isinstance(value, str):
        return value
    digits, _, decimals = f"{value:.{_DECIMALS}f}".partition(".")
    return f"{digits}.{decimals.rstrip('0'):0<2}"
