"""Bars in integers: the execution series of a symbol in ticks and lots, and the grid where no instrument is configured.

Everything that fills, values or slips reads these columns; floats stay with the strategies.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from math import floor, log10
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from backtest.data.series import BarSeries, Floats, Ints
from core.costs import BarRange
from core.errors import ConfigError, ContractError
from core.instruments import Instrument

_SLACK: Final = 1e-6  # of one step, as core.instruments allows
_MOST_DECIMALS: Final = 10  # of prices from 1 on; smaller ones have as many behind their leading zeros
_NOISE: Final = 1e-9  # of a price: what float arithmetic may have added to it
_MOST_CUT: Final = 1e-6  # of a quantity that a guessed lot may take away
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
        grid: PriceGrid | None = series.kept.get(instrument)
        if grid is None:
            grid = series.kept[instrument] = cls(series, instrument)
        return grid

    @cached_property
    def opens_at(self) -> list[int]:
        """When each bar opens."""
        times: list[int] = self.series.ts_open.tolist()
        return times

    @cached_property
    def volume_lots(self) -> Floats:
        """Each bar's volume in lots, rounded: volumes are sums of floats. Of any size, such as 1e20 of a tiny lot."""
        lots: Floats = np.rint(self.series.volume / float(self.instrument.lot_size))
        return lots

    @cached_property
    def _span(self) -> tuple[float, float]:
        return float(self.series.close.min()), float(self.series.close.max())

    def closed_by(self, ts_ns: int) -> int:
        """The last bar that is closed at a time; -1 before the first."""
        return bisect_right(self.closes_at, ts_ns) - 1

    def opening_from(self, ts_ns: int, *, later: bool) -> int | None:
        """The first bar that opens at a time or later (``later``: not at it); None when the data ends before."""
        index = (bisect_right if later else bisect_left)(self.opens_at, ts_ns)
        return index if index < len(self.opens_at) else None

    def bar(self, index: int) -> BarRange:
        """One bar in ticks and lots."""
        return BarRange(
            int(self.low[index]), int(self.high[index]), int(self.close[index]),
            int(self.open[index]), int(self.volume_lots[index]),
        )  # fmt: skip

    def reached(self, start: int, low: int | None, high: int | None) -> int:
        """When the first bar from ``start`` on closes that reached down to ``low`` or up to ``high``, in ticks."""

        def hit(first: int, last: int) -> npt.NDArray[np.bool_]:
            hits = np.zeros(last - first, dtype=np.bool_)
            if low is not None:
                hits |= self.low[first:last] <= low
            if high is not None:
                hits |= self.high[first:last] >= high
            return hits

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
            hits = hit(start, last)
            at = int(hits.argmax())
            if hits[at]:
                return self.closes_at[start + at]
            start, step = last, step * 4
        return _NS_FAR


@dataclass(frozen=True)
class GuessedInstrument(Instrument):
    """An instrument whose lot follows from the volumes of the data, which need not say in what steps one may trade.

    Quantities are not cut to such a lot: ``floor_qty`` raises ContractError instead, except for the last digits of a
    quantity that was computed.
    """

    def floor_qty(self, qty: float) -> float:
        """The quantity on the grid. Raises ContractError where that is noticeably less."""
        floored = Instrument.floor_qty(self, qty)
        if abs(qty - floored) > _MOST_CUT * abs(qty):
            raise ContractError(
                f"{self.symbol}: expected a quantity in lots of {self.lot_size:f}, got {qty!r}; no instrument is "
                "configured and the lot is a guess from the volumes of the data: give --lot-size, or configure it"
            )
        return floored


def derived_instrument(
    series: Iterable[BarSeries], *, tick_size: Decimal | None = None, lot_size: Decimal | None = None
) -> Instrument:
    """An instrument whose grid is the coarsest that all the prices lie on, its lots the decimals of the volumes.

    A handful of prices tells no step coarser than their decimals, and no volume at all tells nothing: eight decimals.
    Without ``lot_size`` it is a ``GuessedInstrument``.

    Raises:
        ConfigError: prices of more than ten decimals, which are on no grid that can be told from noise.
    """
    all_series = list(series)
    if len(all_series) == 1 and tick_size is None and lot_size is None:
        kept = all_series[0].kept
        if "instrument" not in kept:
            kept["instrument"] = _derived(all_series, None, None)
        instrument: Instrument = kept["instrument"]
        return instrument
    return _derived(all_series, tick_size, lot_size)


def _derived(all_series: Sequence[BarSeries], tick_size: Decimal | None, lot_size: Decimal | None) -> Instrument:
    symbol = all_series[0].symbol
    prices = np.unique(np.concatenate([np.concatenate([s.open, s.high, s.low, s.close]) for s in all_series]))
    if tick_size is None:
        decimals = _decimals(prices)
        if decimals is None:
            raise ConfigError(
                f"{symbol}: no instrument is configured and the prices, from {prices[0].item()!r} on, lie on no grid "
                f"of up to {_most_decimals(prices)} decimals; give --tick-size and --lot-size"
            )
        steps = np.rint(prices * 10.0**decimals).astype(np.int64)
        step = int(np.gcd.reduce(steps)) if len(steps) >= _ENOUGH else 1
        tick_size = step * Decimal(1).scaleb(-decimals)
    if lot_size is not None:
        return Instrument(symbol, tick_size.normalize(), lot_size.normalize())
    volumes = np.concatenate([s.volume for s in all_series])
    lot_decimals = _decimals(volumes) if volumes.any() else None
    guess = Decimal(1).scaleb(-(8 if lot_decimals is None else lot_decimals))
    return GuessedInstrument(symbol, tick_size.normalize(), guess.normalize())


def _decimals(values: Floats) -> int | None:
    """The decimals that all values have, noise aside; None for more than can be told from noise."""
    for decimals in range(_most_decimals(values) + 1):
        scaled = values * 10.0**decimals
        size = np.abs(scaled)
        if bool(
            (np.abs(scaled - np.rint(scaled)) <= np.maximum(np.minimum(_SLACK, _NOISE * size), 4e-16 * size)).all()
        ):
            return decimals
    return None


def _most_decimals(values: Floats) -> int:
    """``_MOST_DECIMALS`` behind the leading zeros of the smallest value."""
    smallest = float(np.abs(values[values != 0]).min())
    return _MOST_DECIMALS + max(0, -floor(log10(smallest)) - 1)


def _in_ticks(prices: Floats, instrument: Instrument, name: str, series: BarSeries) -> tuple[Ints, int]:
    """Prices in ticks, and how many of them had to be rounded."""
    steps = prices / float(instrument.tick_size)
    ticks = np.maximum(np.rint(steps), 1.0)
    off: Any = np.abs(steps - ticks) > np.maximum(_SLACK, np.abs(steps) * 4e-16)
    count = int(off.sum())
    if count > max(_MOST_OFF * len(prices), min(_FEW_OFF, len(prices) / 4)):
        at = int(off.argmax())
        raise ConfigError(
            f"{series.symbol} {series.timeframe}, bar {at}: expected its {name} in steps of {instrument.tick_size}, "
            f"got {prices[at].item()!r}, as are {count} of {len(prices)} off the grid; correct the instrument's "
            "tick_size or give --tick-size"
        )
    return ticks.astype(np.int64), count
