"""Bars in integers: the execution series of a symbol in ticks and lots, and the grid where no instrument is configured.

Everything that fills, values or slips reads these columns; floats stay with the strategies.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from backtest.data.series import BarSeries, Floats, Ints
from core.errors import ConfigError
from core.instruments import Instrument
from execution.fill_models import BarRange

_SLACK: Final = 1e-6  # of one step, as core.instruments allows
_MOST_DECIMALS: Final = 10
_ENOUGH: Final = 10  # different prices: with fewer, their common divisor is mostly chance
_MOST_OFF: Final = 0.01  # share of prices off the grid up to which the data is at fault and not the grid
_FEW_OFF: Final = 10  # as many may also be off in a short series, unless they are a quarter of it
_FIRST_LOOK: Final = 64  # bars looked at first when searching ahead; each further look is four times as long
_NS_FAR: Final = 2**63 - 1


class PriceGrid:
    """One symbol's shortest series in ticks.

    Prices off the instrument's grid, such as those of bars that a vendor interpolated, are taken at the nearest tick
    and counted in ``off_grid``. Raises ConfigError when they are more than one in a hundred and more than a few, or a
    quarter of all: the grid is wrong then.
    """

    def __init__(self, series: BarSeries, instrument: Instrument) -> None:
        self.series = series
        self.symbol = series.symbol
        self.instrument = instrument
        names = ("open", "high", "low", "close")
        columns = [_in_ticks(getattr(series, name), instrument, name, series) for name in names]
        (self.open, _), (self.high, _), (self.low, _), (self.close, _) = columns
        self.off_grid = sum(count for _, count in columns)
        self.closes_at = series.closes_at

    @classmethod
    def of(cls, series: BarSeries, instrument: Instrument) -> PriceGrid:
        """The same, made once for each series and instrument. Raises as the class does."""
        found: PriceGrid | None = series.kept.get(instrument)
        if found is None:
            found = series.kept[instrument] = cls(series, instrument)
        return found

    @cached_property
    def opens_at(self) -> list[int]:
        """When each bar opens."""
        times: list[int] = self.series.ts_open.tolist()
        return times

    @cached_property
    def volume(self) -> Ints:
        """Each bar's volume in lots, rounded: volumes are sums of floats."""
        whole: Ints = np.rint(self.series.volume / float(self.instrument.lot_size)).astype(np.int64)
        return whole

    @cached_property
    def _span(self) -> tuple[float, float]:
        return float(self.series.close.min()), float(self.series.close.max())

    def closed_by(self, ts_ns: int) -> int:
        """The last bar that is closed at a time; -1 before the first."""
        return bisect_right(self.closes_at, ts_ns) - 1

    def opening_from(self, ts_ns: int, *, after: bool) -> int | None:
        """The first bar that opens at a time or later (``after``: later only); None when the data ends before."""
        index = (bisect_right if after else bisect_left)(self.opens_at, ts_ns)
        return index if index < len(self.opens_at) else None

    def bar(self, index: int) -> BarRange:
        """One bar in ticks and lots."""
        return BarRange(
            int(self.low[index]), int(self.high[index]), int(self.close[index]),
            int(self.open[index]), int(self.volume[index]),
        )  # fmt: skip

    def reached(self, start: int, low: int | None, high: int | None) -> int:
        """When the first bar from ``start`` on closes that reached down to ``low`` or up to ``high``, in ticks."""

        def hit(first: int, last: int) -> npt.NDArray[np.bool_]:
            found = np.zeros(last - first, dtype=np.bool_)
            if low is not None:
                found |= self.low[first:last] <= low
            if high is not None:
                found |= self.high[first:last] >= high
            return found

        return self._first(start, hit)

    def always_within(self, low: float, high: float) -> bool:
        """Whether every close lies above one price and below the other (quote currency)."""
        lowest, highest = self._span
        return low < lowest and high > highest

    def closed_beyond(self, start: int, low: float, high: float) -> int:
        """When the first bar from ``start`` on closes at or beyond one of the prices (quote currency)."""
        closes = self.series.close
        return self._first(start, lambda first, last: (closes[first:last] <= low) | (closes[first:last] >= high))

    def _first(self, start: int, hit: Callable[[int, int], npt.NDArray[np.bool_]]) -> int:
        step, end = _FIRST_LOOK, len(self.closes_at)
        while start < end:
            last = min(end, start + step)
            found = hit(start, last)
            at = int(found.argmax())
            if found[at]:
                return self.closes_at[start + at]
            start, step = last, step * 4
        return _NS_FAR


def derived_instrument(
    series: Iterable[BarSeries], *, tick_size: Decimal | None = None, lot_size: Decimal | None = None
) -> Instrument:
    """An instrument whose grid is the coarsest that all the prices lie on, its lots the decimals of the volumes.

    A handful of prices tells no step coarser than their decimals, and no volume at all tells nothing: eight decimals.

    Raises:
        ConfigError: prices of more than ten decimals, which are on no grid that can be told from noise.
    """
    every = list(series)
    if len(every) == 1 and tick_size is None and lot_size is None:
        kept = every[0].kept
        if "instrument" not in kept:
            kept["instrument"] = _derived(every, None, None)
        instrument: Instrument = kept["instrument"]
        return instrument
    return _derived(every, tick_size, lot_size)


def _derived(every: Sequence[BarSeries], tick_size: Decimal | None, lot_size: Decimal | None) -> Instrument:
    prices = np.unique(np.concatenate([np.concatenate([s.open, s.high, s.low, s.close]) for s in every]))
    if tick_size is None:
        decimals = _decimals(prices)
        if decimals is None:
            raise ConfigError(
                f"{every[0].symbol}: no instrument is configured and the prices lie on no grid of up to "
                f"{_MOST_DECIMALS} decimals; give --tick-size and --lot-size"
            )
        whole = np.rint(prices * 10.0**decimals).astype(np.int64)
        step = int(np.gcd.reduce(whole)) if len(whole) >= _ENOUGH else 1
        tick_size = step * Decimal(1).scaleb(-decimals)
    if lot_size is None:
        volumes = np.concatenate([s.volume for s in every])
        found = _decimals(volumes) if volumes.any() else None
        lot_size = Decimal(1).scaleb(-(8 if found is None else found))
    return Instrument(every[0].symbol, tick_size.normalize(), lot_size.normalize())


def _decimals(values: Floats) -> int | None:
    for decimals in range(_MOST_DECIMALS + 1):
        scaled = values * 10.0**decimals
        if bool((np.abs(scaled - np.rint(scaled)) <= np.maximum(_SLACK, np.abs(scaled) * 4e-16)).all()):
            return decimals
    return None


def _in_ticks(prices: Floats, instrument: Instrument, name: str, series: BarSeries) -> tuple[Ints, int]:
    """Prices in ticks, and how many of them had to be rounded."""
    steps = prices / float(instrument.tick_size)
    whole = np.maximum(np.rint(steps), 1.0)
    off: Any = np.abs(steps - whole) > np.maximum(_SLACK, np.abs(steps) * 4e-16)
    count = int(off.sum())
    if count > max(_MOST_OFF * len(prices), min(_FEW_OFF, len(prices) / 4)):
        at = int(off.argmax())
        raise ConfigError(
            f"{series.symbol} {series.timeframe}, bar {at}: expected its {name} in steps of {instrument.tick_size}, "
            f"got {prices[at].item()!r}, as are {count} of {len(prices)} off the grid; correct the instrument's "
            "tick_size or give --tick-size"
        )
    return whole.astype(np.int64), count
