"""Slippage: what a market order pays beyond the price it meets, by three models in integers of ticks, lots and ppm.

The event engine and the compiled engine move every price by ``moved``; paper venue and trades use its ``fixed`` part.
"""

from __future__ import annotations

from math import isqrt
from typing import Final, Literal, NamedTuple, get_args

from core.contracts import Side
from core.errors import ConfigError

PPM: Final = 1_000_000  # shares and slippage are counted in millionths, so that all arithmetic is exact
PPM_PER_BPS: Final = 100
SlippageModel = Literal["fixed", "range", "volume"]
MODELS: Final[tuple[str, ...]] = get_args(SlippageModel)


class BarRange(NamedTuple):
    """The prices that a bar reached, in ticks, and its volume, in lots; 0 for open and volume where nobody asks."""

    low: int
    high: int
    close: int
    open: int = 0
    volume: int = 0


def slipped(ticks: int, side: Side, slippage_ppm: int) -> int:
    """The price after slippage, always against the order: up for a buy, down for a sell, to the next whole tick."""
    if side == "buy":
        return -(-ticks * (PPM + slippage_ppm) // PPM)
    return max(1, ticks * (PPM - slippage_ppm) // PPM)


class Slippage:
    """Moves market orders against themselves.

    ``fixed``: by ``bps`` of the price. ``range``: by that share of the range (high to low) of the latest closed bar.
    ``volume``: by ``bps`` of the price times the square root of the order's share in that bar's volume, the
    square-root law of market impact (R. Grinold, R. Kahn, "Active Portfolio Management", 2nd ed. 2000, ch. 16;
    B. Tóth et al., "Anomalous Price Impact and the Critical Nature of Liquidity in Financial Markets", Phys. Rev. X 1,
    021006, 2011). A bar without volume counts as one lot. All of it is rounded up to whole ticks, never in favour.

    Raises:
        ConfigError: an unknown model, or basis points out of 0 to 10,000.
    """

    def __init__(self, model: str = "fixed", bps: float = 0.0) -> None:
        if model not in MODELS:
            raise ConfigError(f"slippage model: expected one of {', '.join(MODELS)}, got {model!r}")
        if not 0 <= bps <= 10_000:
            raise ConfigError(f"slippage: expected 0 to 10,000 basis points, got {bps!r}")
        self.model = model
        self.ppm = round(bps * PPM_PER_BPS)

    def moved(self, ticks: int, side: Side, lots: int, bar: BarRange) -> int:
        """The price in ticks at which ``lots`` really fill; ``bar`` is the latest one that is closed."""
        if not self.ppm:
            return ticks
        if self.model == "fixed":
            return slipped(ticks, side, self.ppm)
        if self.model == "range":
            by = -(-(bar.high - bar.low) * self.ppm // PPM)
            return ticks + by if side == "buy" else max(1, ticks - by)
        return slipped(ticks, side, min(PPM, isqrt(self.ppm * self.ppm * lots // max(1, bar.volume))))
