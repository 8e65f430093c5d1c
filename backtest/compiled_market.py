"""What the compiled loop is given: bars in ticks, the rules of a run in integers, and where the curve is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from backtest import compiled_loop as loop
from backtest.contracts import BacktestConfig, FillTiming
from backtest.metrics import Measured
from backtest.metrics_returns import Floats, Ints, daily_closes
from backtest.series import BarSeries
from core.errors import ConfigError, ContractError
from core.instruments import Instrument
from core.position_ledger import FEE_UNIT
from execution.fees import FeeSchedule
from execution.fill_models import PPM, PPM_PER_BPS

_SLACK: Final = 1e-6  # of a tick, as Instrument.ticks has it


@dataclass(frozen=True, eq=False)
class KernelMarket:
    """A series made ready for any number of compiled runs.

    Attributes:
        series: the bars.
        open_ticks, close_ticks: their prices in ticks.
        marks: the bars at whose close the curve is sampled: the first, and each UTC day's last (every bar, where the
            series is shorter than two days).
        take: which samples make the returns when the first bar did not trade; sample 0 is the capital at the start,
            sample ``n`` is mark ``n - 1``.
        take_first: and which when it did.
        per_year: how many such returns a year has.
    """

    series: BarSeries
    instrument: Instrument
    open_ticks: Ints
    close_ticks: Ints
    marks: Ints
    take: Ints
    take_first: Ints
    per_year: float

    @classmethod
    def of(cls, series: BarSeries, instrument: Instrument, periods_per_year: float = 365) -> KernelMarket:
        """Raises ContractError for a price off the instrument's grid, ConfigError for another symbol's instrument."""
        if series.symbol != instrument.symbol:
            raise ConfigError(f"instrument: expected that of {series.symbol}, got {instrument.symbol}")
        ts, bars = series.ts_close, np.arange(len(series))
        measured = Measured(ts, np.ones(len(series)), None, periods_per_year)
        if not measured.daily:
            marks, take, take_first = bars, bars + 1, np.arange(len(series) + 1)
        else:
            at = daily_closes(ts, bars)[1]
            at_first = daily_closes(np.insert(ts, 0, ts[0]), np.insert(bars, 0, -1))[1]
            marks = np.unique(np.concatenate(([0], at, at_first[at_first >= 0])))
            take, take_first = np.searchsorted(marks, at) + 1, np.searchsorted(marks, at_first) + 1
            take_first[at_first < 0] = 0
        return cls(
            series,
            instrument,
            ticks_of(series.open, instrument),
            ticks_of(series.close, instrument),
            marks,
            take,
            take_first,
            measured.per_year,
        )


def ticks_of(prices: Floats, instrument: Instrument) -> Ints:
    """The prices in ticks, as ``Instrument.ticks`` has each. Raises ContractError for the first off the grid."""
    steps = prices / float(instrument.tick_size)
    nearest = np.rint(steps)
    off = (np.abs(steps - nearest) > np.maximum(_SLACK, np.abs(steps) * 4e-16)) | (nearest == 0)
    if off.any():
        instrument.ticks(float(prices[int(np.argmax(off))]))  # says what is wrong with it
    return nearest.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Rules:
    """Costs, timing and capital as the loop wants them. ``unit`` is the money that all its integers count."""

    values: Ints
    unit: Decimal
    scale: float


def rules_of(config: BacktestConfig, market: KernelMarket, lots: int, long_only: bool) -> Rules:
    """The rules of a run.

    Raises:
        ConfigError: something that a compiled run does not do.
        ContractError: amounts that could overflow 64 bits.
    """
    _check(config)
    instrument = commissioned(market.instrument, config)
    capital = Decimal(repr(float(config.initial_capital)))
    exponents = (int(number.normalize().as_tuple().exponent) for number in (instrument.money_unit, FEE_UNIT, capital))
    unit = Decimal(1).scaleb(min(0, *exponents))
    numerator, denominator = FeeSchedule(instrument).taker_ratio
    slippage = round(config.slippage_bps * PPM_PER_BPS)
    per_money, per_fee = int(instrument.money_unit / unit), int(FEE_UNIT / unit)
    dearest = int(max(market.open_ticks.max(), market.close_ticks.max())) * (PPM + slippage)
    most = max(2 * abs(numerator), per_money, 1) * (dearest // PPM + 1)
    values = [0] * 10
    values[loop.NEXT_OPEN] = int(config.fill_timing is FillTiming.NEXT_OPEN)
    values[loop.SLIPPAGE_PPM] = slippage
    values[loop.FEE_NUMERATOR], values[loop.FEE_DENOMINATOR] = numerator, denominator
    values[loop.PER_MONEY], values[loop.PER_FEE] = per_money, per_fee
    values[loop.CAPITAL] = int(capital / unit)
    values[loop.MAX_LOTS] = max(loop.SAFE - denominator, 0) // most // 2  # a reversal trades twice what it holds
    values[loop.LOTS], values[loop.LONG_ONLY] = lots, int(long_only)
    if max(dearest, denominator, values[loop.CAPITAL], lots) >= loop.SAFE or lots > values[loop.MAX_LOTS]:
        raise ContractError(too_large(market.instrument, unit))
    return Rules(np.array(values, dtype=np.int64), unit, float(1 / unit))


def commissioned(instrument: Instrument, config: BacktestConfig) -> Instrument:
    """The instrument with the fees of the run."""
    taker = Decimal(repr(float(config.commission_rate)))
    maker = taker if config.maker_rate is None else Decimal(repr(float(config.maker_rate)))
    return Instrument(
        instrument.symbol, instrument.tick_size, instrument.lot_size, instrument.min_notional, maker, taker
    )


def too_large(instrument: Instrument, unit: Decimal) -> str:
    """What an overflow is reported as."""
    return (
        f"compiled run of {instrument.symbol}: expected all amounts below 2^61 units of {unit} quote currency, got "
        "positions, capital or turnover beyond; trade less, or set a coarser tick_size or lot_size"
    )


def _check(config: BacktestConfig) -> None:
    for name, fine, expected in (
        ("fill_timing", config.fill_timing is not FillTiming.NEXT_TRADE, "bar_close or next_open"),
        ("slippage_model", config.slippage_model == "fixed", "fixed"),
        ("symbols", len(config.traded) == 1, "one symbol"),
        ("risk", not config.risk, "False: no risk engine is asked"),
    ):
        if not fine:
            raise ConfigError(
                f"BacktestConfig.{name}: expected {expected} in a compiled run, got {getattr(config, name)!r}; "
                "take the event engine for it"
            )
