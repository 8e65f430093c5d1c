"""The input of the compiled loop: bars in ticks, the rules of a run in integers, the samples of the curve."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from typing import Any, Final

import numpy as np

from backtest.compiled.account import SAFE, Rules
from backtest.compiled.loop import Bars, Sampling
from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.price_grid import PriceGrid
from backtest.data.series import BarSeries
from backtest.fill_simulator import with_fees
from backtest.metrics import Measured
from backtest.metrics.returns import Ints, daily_closes
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
        bars: the same as columns.
        sampling: ``marks`` are the bars at whose close the curve is sampled: the first, and each UTC day's last (every
            bar, where the series is shorter than two days). ``take`` are the samples that make the returns when the
            first bar did not trade, ``take_first`` those when it did; sample 0 is the capital at the start, sample
            ``n`` is mark ``n - 1``. ``per_year`` is the number of such returns in a year.
    """

    grid: PriceGrid
    bars: Bars
    sampling: Sampling

    @classmethod
    def of(cls, series: BarSeries, instrument: Instrument, periods_per_year: float = 365) -> KernelMarket:
        """Raises ConfigError for a price off the instrument's grid, or the instrument of another symbol."""
        if series.symbol != instrument.symbol:
            raise ConfigError(f"instrument: expected that of {series.symbol}, got {instrument.symbol}")
        grid = PriceGrid(series, instrument)
        prices = (series.open, series.high, series.low, series.close, series.volume)
        ticks = (grid.open, grid.high, grid.low, grid.close, np.minimum(grid.volume_lots, 2 * SAFE).astype(np.int64))
        columns = (series.ts_open, series.ts_close, *prices, *ticks)
        measured = Measured(series.ts_close, np.ones(len(series)), None, periods_per_year)
        sampling = Sampling(*_samples(measured), float(measured.per_year))
        bars: Any = (np.ascontiguousarray(column) for column in columns)
        return cls(grid, Bars(*bars), sampling)

    @property
    def instrument(self) -> Instrument:
        """The traded instrument."""
        return self.grid.instrument

    @property
    def marks(self) -> Ints:
        """The bars at whose close the curve is sampled."""
        return self.sampling.marks

    @cached_property
    def dearest(self) -> int:
        """The highest price of a fill in ticks: slippage at most doubles a price."""
        bars = self.bars
        return 2 * max(int(column.max()) for column in (bars.open_ticks, bars.high_ticks, bars.close_ticks)) + 1

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


def rules_of(config: BacktestConfig, market: KernelMarket, lots: int, *, long_only: bool) -> Rules:
    """The rules of a run.

    Raises:
        ConfigError: a setting that a compiled run does not support.
        ContractError: amounts that could overflow 64 bits.
    """
    _check(config)
    instrument = with_fees(market.instrument, config)
    capital = Decimal(repr(float(config.initial_capital)))
    amounts = (instrument.money_unit, FEE_UNIT, capital)
    decimals = max(0, *(-int(amount.as_tuple().exponent) for amount in amounts))
    per_money, per_fee, start = (int(amount.scaleb(decimals)) for amount in amounts)
    numerator, denominator = FeeSchedule(instrument).taker_ratio
    slippage = Slippage(config.slippage_model, config.slippage_bps)
    most = max(SAFE - denominator, 0) // (2 * max(2 * abs(numerator), per_money) * market.dearest)
    least = int((instrument.min_notional / instrument.money_unit).to_integral_value(ROUND_CEILING))
    if max(2 * market.dearest * PPM, start, least) > SAFE or lots > most:
        raise ContractError(too_large(instrument, decimals))
    if slippage.ppm and slippage.model == "volume" and (largest := int(market.grid.volume_lots.max())) > SAFE:
        raise ContractError(
            f"compiled run of {instrument.symbol}: expected volumes below 2^60 lots with slippage by volume, got a bar "
            f"of {largest:,}; set a coarser lot_size, or take the event engine"
        )
    return Rules(
        next_open=int(config.fill_timing is FillTiming.NEXT_OPEN),
        slippage=SLIPPAGE_MODELS.index(slippage.model),
        slippage_ppm=slippage.ppm,
        fee_numerator=numerator,
        fee_denominator=denominator,
        per_money=per_money,
        per_fee=per_fee,
        capital=start,
        lots=lots,
        long_only=int(long_only),
        min_notional=least,
        max_lots=most // 2,  # a reversal trades twice its position
        most_traded=SAFE // per_money,
        most_fees=SAFE // per_fee,
        scale=float(10**decimals),
    )


def too_large(instrument: Instrument, decimals: int) -> str:
    """The message of an overflow."""
    return (
        f"compiled run of {instrument.symbol}: expected amounts below 2^60 units of 1e-{decimals} {instrument.quote}, "
        "got a position, capital or profit beyond; trade less, or set a coarser tick_size or lot_size"
    )


def _check(config: BacktestConfig) -> None:
    for name, supported, expected in (
        ("fill_timing", config.fill_timing is not FillTiming.NEXT_TRADE, "bar_close or next_open"),
        ("symbols", len(config.traded) == 1, "one symbol"),
        ("risk", not config.risk, "False: no risk engine is asked"),
    ):
        if not supported:
            raise ConfigError(
                f"BacktestConfig.{name}: expected {expected} in a compiled run, got {getattr(config, name)!r}; "
                "take the event engine for it"
            )
