"""What the compiled loop is given: bars in ticks, the rules of a run in integers, and where the curve is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from typing import Final

import numpy as np

from backtest.compiled import loop
from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.price_grid import PriceGrid
from backtest.data.series import BarSeries
from backtest.fill_simulator import with_fees
from backtest.metrics import Measured
from backtest.metrics.returns import Floats, Ints, daily_closes
from core.costs import PPM, FeeSchedule, Slippage
from core.errors import ConfigError, ContractError
from core.instruments import Instrument
from core.position_ledger import FEE_UNIT

SLIPPAGE_MODELS: Final = ("fixed", "range", "volume")  # in the order of the loop's numbers


@dataclass(frozen=True, eq=False)
class KernelMarket:
    """A series made ready for any number of compiled runs.

    Attributes:
        grid: the bars in ticks.
        times: opens and closes, prices: open, high, low, close, volume, ticks: the same in ticks and lots; a row each.
        marks: the bars at whose close the curve is sampled: the first, and each UTC day's last (every bar, where the
            series is shorter than two days).
        take: which samples make the returns when the first bar did not trade; sample 0 is the capital at the start,
            sample ``n`` is mark ``n - 1``.
        take_first: and which when it did.
        per_year: how many such returns a year has.
    """

    grid: PriceGrid
    times: Ints
    prices: Floats
    ticks: Ints
    marks: Ints
    take: Ints
    take_first: Ints
    per_year: float

    @classmethod
    def of(cls, series: BarSeries, instrument: Instrument, periods_per_year: float = 365) -> KernelMarket:
        """Raises ConfigError for a price off the instrument's grid, or the instrument of another symbol."""
        if series.symbol != instrument.symbol:
            raise ConfigError(f"instrument: expected that of {series.symbol}, got {instrument.symbol}")
        grid = PriceGrid(series, instrument)
        times = np.stack([series.ts_open, series.ts_close])
        prices = np.stack([series.open, series.high, series.low, series.close, series.volume])
        ticks = np.stack([grid.open, grid.high, grid.low, grid.close, grid.volume])
        measured = Measured(series.ts_close, np.ones(len(series)), None, periods_per_year)
        return cls(grid, times, prices, ticks, *_samples(measured), measured.per_year)

    @property
    def instrument(self) -> Instrument:
        """What is traded."""
        return self.grid.instrument

    @cached_property
    def dearest(self) -> int:
        """The most ticks that a fill can be at: slippage at most doubles a price."""
        return 2 * int(self.ticks[: loop.VOLUME].max()) + 1

    def __len__(self) -> int:
        return len(self.grid.series)


def _samples(curve: Measured) -> tuple[Ints, Ints, Ints]:
    """``marks``, ``take`` and ``take_first``, by the rules that the metrics themselves follow."""
    ts, bars = curve.ts_ns, np.arange(len(curve.ts_ns), dtype=np.int64)
    if not curve.daily:
        return bars, bars + 1, np.arange(len(bars) + 1, dtype=np.int64)
    numbers = bars.astype(np.float64)  # so that the rule for values says which bars they are of
    at = daily_closes(ts, numbers)[1].astype(np.int64)
    at_first = daily_closes(np.insert(ts, 0, ts[0]), np.insert(numbers, 0, -1.0))[1].astype(np.int64)
    marks = np.unique(np.concatenate(([0], at, at_first[at_first >= 0])))
    take, take_first = np.searchsorted(marks, at) + 1, np.searchsorted(marks, at_first) + 1
    take_first[at_first < 0] = 0
    return marks, take, take_first


@dataclass(frozen=True, eq=False)
class Rules:
    """Costs, timing and capital as the loop wants them; amounts count ``decimals`` places behind the point."""

    values: Ints
    decimals: int

    @property
    def scale(self) -> float:
        """How many units make one of quote currency."""
        return float(10**self.decimals)


def rules_of(config: BacktestConfig, market: KernelMarket, lots: int, long_only: bool) -> Rules:
    """The rules of a run.

    Raises:
        ConfigError: something that a compiled run does not do.
        ContractError: amounts that could overflow 64 bits.
    """
    _check(config)
    instrument = with_fees(market.instrument, config)
    capital = Decimal(repr(float(config.initial_capital)))
    decimals = max(0, *(-int(each.as_tuple().exponent) for each in (instrument.money_unit, FEE_UNIT, capital)))
    per_money, per_fee, start = (int(each.scaleb(decimals)) for each in (instrument.money_unit, FEE_UNIT, capital))
    numerator, denominator = FeeSchedule(instrument).taker_ratio
    slippage = Slippage(config.slippage_model, config.slippage_bps)
    most = max(loop.SAFE - denominator, 0) // (2 * max(2 * abs(numerator), per_money) * market.dearest)
    least = int((instrument.min_notional / instrument.money_unit).to_integral_value(ROUND_CEILING))
    if max(2 * market.dearest * PPM, start, least) > loop.SAFE or lots > most:
        raise ContractError(too_large(instrument, decimals))
    values = np.zeros(loop.RULES, dtype=np.int64)
    values[loop.NEXT_OPEN] = config.fill_timing is FillTiming.NEXT_OPEN
    values[loop.SLIPPAGE], values[loop.SLIPPAGE_PPM] = SLIPPAGE_MODELS.index(slippage.model), slippage.ppm
    values[loop.FEE_NUMERATOR], values[loop.FEE_DENOMINATOR] = numerator, denominator
    values[loop.PER_MONEY], values[loop.PER_FEE], values[loop.CAPITAL] = per_money, per_fee, start
    values[loop.MAX_LOTS] = most // 2  # a reversal trades twice what it holds
    values[loop.MIN_NOTIONAL] = least
    values[loop.MOST_TRADED], values[loop.MOST_FEES] = loop.SAFE // per_money, loop.SAFE // per_fee
    values[loop.LOTS], values[loop.LONG_ONLY] = lots, long_only
    return Rules(values, decimals)


def too_large(instrument: Instrument, decimals: int) -> str:
    """What an overflow is reported as."""
    return (
        f"compiled run of {instrument.symbol}: expected amounts below 2^60 units of 1e-{decimals} {instrument.quote}, "
        "got a position, capital or profit beyond; trade less, or set a coarser tick_size or lot_size"
    )


def _check(config: BacktestConfig) -> None:
    for name, fine, expected in (
        ("fill_timing", config.fill_timing is not FillTiming.NEXT_TRADE, "bar_close or next_open"),
        ("symbols", len(config.traded) == 1, "one symbol"),
        ("risk", not config.risk, "False: no risk engine is asked"),
    ):
        if not fine:
            raise ConfigError(
                f"BacktestConfig.{name}: expected {expected} in a compiled run, got {getattr(config, name)!r}; "
                "take the event engine for it"
            )
